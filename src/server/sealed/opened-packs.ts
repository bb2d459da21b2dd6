/**
 * The packs that were opened lately, so that one pack that is read for many files is fetched and opened once.
 * Readers that need the same pack at the same time share one opening as well.
 *
 *   absent ──claim──▶ being opened by one reader ──keep──▶ kept ──least recently used──▶ absent
 *                          └──────────abandon─────────────▶ absent: others may claim it
 */
import { MIB } from '../../base/geometry.ts';
import { recordKey, type SlicePointer } from './pointer.ts';

/** Bound of the plain bytes of all packs that are kept. */
const KEPT_BYTES_DEFAULT: number = 4 * MIB;

export class OpenedPacks {
  readonly #maxBytes: number;
  /** Plain packs; the least recently used comes first. */
  readonly #kept = new Map<string, Uint8Array>();
  readonly #opening = new Map<string, PromiseWithResolvers<void>>();
  #bytes = 0;

  constructor(maxBytes: number = KEPT_BYTES_DEFAULT) {
    this.#maxBytes = maxBytes;
  }

  /**
   * Returns a plain pack if it is kept. It must not be changed. It stays valid as long as the caller holds
   * it.
   */
  get(pointer: SlicePointer): Uint8Array | undefined {
    const key = packKey(pointer);
    const found = this.#kept.get(key);
    if (found === undefined) return undefined;
    this.#kept.delete(key);
    this.#kept.set(key, found);
    return found;
  }

  /**
   * Takes on the opening of a pack that is not kept: the caller must then {@link keep} or {@link abandon} it.
   * Returns false when another reader is opening it.
   */
  claim(pointer: SlicePointer): boolean {
    const key = packKey(pointer);
    if (this.#opening.has(key)) return false;
    this.#opening.set(key, Promise.withResolvers<void>());
    return true;
  }

  /** Keeps a pack that the caller has claimed and opened. The bytes must not change from then on. */
  keep(pointer: SlicePointer, plain: Uint8Array): void {
    const key = packKey(pointer);
    this.#kept.set(key, plain);
    this.#bytes += plain.byteLength;
    for (const [oldKey, old] of this.#kept) {
      if (this.#bytes <= this.#maxBytes) break;
      this.#kept.delete(oldKey);
      this.#bytes -= old.byteLength;
    }
    this.abandon(pointer);
  }

  /** Ends a claim. Does nothing when there is none. */
  abandon(pointer: SlicePointer): void {
    const key = packKey(pointer);
    this.#opening.get(key)?.resolve();
    this.#opening.delete(key);
  }

  /** Resolves when no reader is opening the pack. It is not kept then if that failed. */
  async opened(pointer: SlicePointer): Promise<void> {
    await this.#opening.get(packKey(pointer))?.promise;
  }
}

/** Returns a text that names a pack by all that its content depends on. */
export function packKey(pointer: SlicePointer): string {
  return `${recordKey(pointer)} ${pointer.slice.packId} ${pointer.slice.packBytes}`;
}
