/** What a target is: something measured, and the bound that it is held against. */

/** `real` measures; `small` does the same on little data, within the tests, for correctness only. */
export type TargetSize = 'real' | 'small';

/** One measured value with its bound. */
export interface Measurement {
  /** What was measured, in a few words. */
  readonly what: string;
  readonly measured: number;
  readonly bound: number;
  /** `>=`: at least the bound; `<=`: at most. */
  readonly sense: '>=' | '<=';
  readonly unit: 'x' | 'MiB' | 'requests' | 'trips';
  /** The absolute figures behind a ratio. */
  readonly detail: string;
}

export interface Target {
  /** As the issues name it. */
  readonly id: string;
  /** One sentence: what is compared with what. */
  readonly about: string;
  /** Checks that the contenders' results are right, then measures. Throws when one is wrong. */
  measure(size: TargetSize): Promise<readonly Measurement[]>;
}

export function isMet({ measured, bound, sense }: Measurement): boolean {
  return sense === '>=' ? measured >= bound : measured <= bound;
}
