/** Deletes objects for one pass of gc. One that cannot be deleted is noted, and the pass goes on. */
import { type ErrorCode, isNetsealError, type NetsealError } from '../../base/errors.ts';
import { type KeyScheme, storedKey } from '../../server/sealed/object-keys.ts';
import type { ObjectStore } from '../../server/store.ts';

/** An object that could not be deleted. */
export interface DeleteFailure {
  /** The object's key in the store. */
  readonly key: string;
  readonly error: NetsealError;
}

/** Codes that are about the whole store or the pass itself. They end the pass: all else would fail, too. */
const END_ALL: ReadonlySet<ErrorCode> = new Set(['EUNAVAILABLE', 'ECLOSED', 'EBUG', 'EINVAL']);

export class Deletions {
  readonly failures: DeleteFailure[] = [];
  readonly #store: ObjectStore;
  readonly #scheme: KeyScheme;
  readonly #signal: AbortSignal | undefined;

  /** @param scheme of the volume: failures name the keys under which the store has the objects. */
  constructor(store: ObjectStore, scheme: KeyScheme, signal: AbortSignal | undefined) {
    this.#store = store;
    this.#scheme = scheme;
    this.#signal = signal;
  }

  /**
   * Deletes an object. Returns false, and keeps the failure, when that object cannot be deleted. Rejects when
   * the store cannot be asked, and with the signal's reason.
   */
  async delete(key: string): Promise<boolean> {
    return await this.attempt(key, () => this.#store.delete(key, { signal: this.#signal }));
  }

  /** Runs a deletion or a change of the caller's own. Treats its failure as {@link delete} does. */
  async attempt(key: string, work: () => Promise<unknown>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      this.#signal?.throwIfAborted();
      if (!isNetsealError(error) || END_ALL.has(error.code)) throw error;
      this.failures.push({ key: storedKey(key, this.#scheme), error });
      return false;
    }
  }
}
