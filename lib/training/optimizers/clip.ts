/** Limits on gradients. */

/** Without any limit, gradients pass as they are. */
export interface Clip {
  /** All gradients together are scaled down to this norm. */
  norm?: number;
  /** Each element is cut to within this of 0, as torch's clip_grad_value_ has it. */
  value?: number;
}

/** The factor that clips gradients of this norm, as torch's clip_grad_norm_ has it. */
export function clipFactor(norm: number, clip: Clip): number {
  return clip.norm ? Math.min(1, clip.norm / (norm + 1e-6)) : 1;
}
