/**
 * 24-byte nonces, drawn in runs. The nonces of a run belong to records that are sealed together.
 *
 *   - The first 20 bytes are random and stay the same within a run. The last 4 count up from a random start.
 *   - Within a run, nonces cannot repeat. Nonces of two runs are as unlikely to be equal as two random
 *     160-bit numbers.
 *   - A suite derives its subkey from the front of the nonce, so it needs to do so only once in a run.
 */
import { viewOf } from '../base/bytes.ts';
import type { RandomFill } from '../base/random.ts';
import { systemRandom } from '../base/random.ts';
import { NONCE_BYTES } from './record-format.ts';

/** The most nonces in a run. It bounds how many records share one subkey. */
const RUN_LENGTH_MAX = 1024;

/** Makes nonces for one thread. */
export class NonceSource {
  readonly #random: RandomFill;
  readonly #nonce = new Uint8Array(NONCE_BYTES);
  readonly #view: DataView = viewOf(this.#nonce);
  #left = 0;

  /**
   * @param random fills an array with random bytes. Only vector generators and tests give another than the
   *   system's.
   */
  constructor(random: RandomFill = systemRandom) {
    this.#random = random;
  }

  /** Ends the current run, so that the next nonce is drawn afresh. Call it between batches. */
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
