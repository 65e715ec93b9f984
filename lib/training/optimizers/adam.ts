/** Adam (Kingma and Ba 2015), with weight decay as an L2 term of the gradient. */
import { adamw, type AdamOptions } from './adamw.js';
import { Scratch } from './scratch.js';
import type { UpdateRule } from './rule.js';

/** As torch.optim.Adam: AdamW without its decay, given gradients that have the decay in them. */
export function adam(options: AdamOptions): UpdateRule {
  const rule = adamw(options);
  const scratch = new Scratch();
  return {
    ...rule,
    apply(updates, gradientScale) {
      const undecayed = updates.filter(({ weightDecay }) => weightDecay === 0);
      rule.apply(undecayed, gradientScale);
      for (const update of updates) {
        const { parameter, gradient, weightDecay } = update;
        if (weightDecay === 0) continue;
        // The scale is applied afterwards, to the whole sum.
        const factor = weightDecay / gradientScale;
        const sum = scratch.take(gradient.length);
        for (let at = 0; at < sum.length; at++) sum[at] = gradient[at]! + factor * parameter[at]!;
        rule.apply([{ ...update, gradient: sum, gradientRows: undefined, weightDecay: 0 }], gradientScale);
      }
    },
  };
}
