/** Adam (Kingma and Ba 2015), in the form of torch.optim.Adam: the weight decay is an L2 term of the gradient. */
import { adamw, type AdamOptions } from './adamw.js';
import type { UpdateRule } from './rule.js';

export function adam(options: AdamOptions): UpdateRule {
  return adamw(options, true);
}
