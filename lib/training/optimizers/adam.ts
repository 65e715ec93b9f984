/** Adam (Kingma and Ba 2015), with weight decay as an L2 term of the gradient. */
import { adamw, type AdamOptions } from './adamw.js';
import type { UpdateRule } from './rule.js';

/** As torch.optim.Adam: AdamW without its decay, given gradients that have the decay in them. */
export function adam(options: AdamOptions): UpdateRule {
  const rule = adamw(options);
  return {
    ...rule,
    apply(updates, gradientScale) {
      const decayed = updates.map((update) => {
        const { parameter, gradient, weightDecay } = update;
        if (weightDecay === 0) return update;
        // The scale is applied afterwards, to the whole sum.
        const factor = weightDecay / gradientScale;
        const sum = new Float32Array(gradient.length);
        for (let at = 0; at < sum.length; at++) sum[at] = gradient[at]! + factor * parameter[at]!;
        return { ...update, gradient: sum, weightDecay: 0 };
      });
      rule.apply(decayed, gradientScale);
    },
  };
}
