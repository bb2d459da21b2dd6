/**
 * 24-byte nonces. A run of records sealed together shares one random draw: its first 20 bytes are random and fixed
 * for the run, its last 4 count up from a random start. Within a run nonces cannot repeat; across runs they are as
 * unlikely to meet as two random 160-bit numbers. Sharing the front lets a suite derive its subkey once a run.
 */
import { viewOf } from '../base/bytes.ts';
import type { RandomFill } from '../base/random.ts';
import { systemRandom } from '../base/random.ts';
import { NONCE_BYTES } from './record-format.ts';

/** A run ends after this many nonces, so that no draw is stretched far. */
const RUN_LENGTH_MAX = 1024;

export class NonceSource {
  readonly #random: RandomFill;
  readonly #nonce = new Uint8Array(NONCE_BYTES);
  readonly #view: DataView = viewOf(this.#nonce);
  #left = 0;

  /** @param random the system's generator, except in vector generators and tests. */
  constructor(random: RandomFill = systemRandom) {
    this.#random = random;
  }

  /** Ends the current run: the next nonce is drawn afresh. Call it between batches. */
  startRun(): void {
    this.#left = 0;
  }

  /** Writes the next nonce into the first 24 bytes of `out`. */
  next(out: Uint8Array): void {
    if (this.#left === 0) {
      this.#random(this.#nonce);
      this.#left = RUN_LENGTH_MAX;
    } else {
      const last = NONCE_BYTES - 4;
      this.#view.setUint32(last, (this.#view.getUint32(last, true) + 1) >>> 0, true);
    }
    this.#left -= 1;
    out.set(this.#nonce);
  }
}
