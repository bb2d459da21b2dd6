/** A target: something that is measured, and its bound. */

/** `real` measures. `small` does the same on little data, within the tests, for correctness only. */
export type TargetSize = 'real' | 'small';

/** One measured value with its bound. */
export interface Measurement {
  /** The measured thing in a few words. */
  readonly what: string;
  readonly measured: number;
  readonly bound: number;
  /** `>=`: at least the bound; `<=`: at most. */
  readonly sense: '>=' | '<=';
  readonly unit: 'x' | 'MiB' | 'ms' | 'requests' | 'trips';
  /** The absolute figures behind a ratio. */
  readonly detail: string;
}

export interface Target {
  /** The name on the command line and in RESULTS.md. */
  readonly id: string;
  /** One sentence that names the things compared. */
  readonly about: string;
  /** Checks the contenders' results, then measures. Throws when a result is wrong. */
  measure(size: TargetSize): Promise<readonly Measurement[]>;
}

export function isMet({ measured, bound, sense }: Measurement): boolean {
  return sense === '>=' ? measured >= bound : measured <= bound;
}
