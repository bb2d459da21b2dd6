/**
 * The key of a cache: a volume header of its own in the cache's folder, or none at all, and a key that only this process ever knows.
 */
import { NetsealError, requireArgument } from '../base/errors.ts';
import { randomBytes } from '../base/random.ts';
import { HEADER_BYTES_MAX } from '../keys/header-format.ts';
import { Keyring } from '../keys/keyring.ts';
import type { NewSlot } from '../keys/new-slot.ts';
import type { Secret } from '../keys/secret.ts';
import { createVolumeHeader, type HeaderOptions, unlockVolumeHeader } from '../keys/unlock.ts';
import type { VolumeHeader } from '../keys/volume-header.ts';
import { type CacheFiles, readWhole, replaceFile, writeFully } from './files.ts';

export const HEADER_PATH = 'header';
/** Left by a change of keys, or a wipe, that a crash has cut short. Each may open the cache, so neither is left lying about. */
const LEFTOVER_PATHS = [`${HEADER_PATH}.new`, `${HEADER_PATH}.old`] as const;

/** How a cache's key is found. */
export type CacheKey =
  /** It never leaves this process: what an earlier one has left is removed. */
  | 'memory'
  | {
      /** Any one of them opens the header. A function is asked when the cache is known to be there and free. */
      readonly secrets?: Secret | readonly Secret[] | (() => Promise<Secret>);
      /** For a new header, where there is none. */
      readonly slots?: readonly NewSlot[];
      readonly options?: HeaderOptions;
    };

export class CacheKeys {
  readonly #files: CacheFiles;
  #header: VolumeHeader | undefined;
  #keyring: Keyring;
  #changing: Promise<unknown> = Promise.resolve();

  /**
   * Unlocks the header, or makes one. EKEY, EAUTH, EFORMAT, EUNSUPPORTED as unlocking throws them; EINVAL when there is none and
   * no slots for one are given; EEXIST when there is one and the key is to be in memory; system errors as they come.
   *
   * @param clear called before there are new keys, to remove what was sealed under those that nobody has.
   */
  static async open(files: CacheFiles, key: CacheKey, clear: () => Promise<void>): Promise<CacheKeys> {
    for (const path of LEFTOVER_PATHS) await removeLeftover(files, path);
    if (key === 'memory') {
      if ((await readWhole(files, HEADER_PATH, 1)) !== undefined) {
        throw new NetsealError('EEXIST', 'there is a cache with a key of its own here: wipe it first');
      }
      await clear();
      return new CacheKeys(files, undefined, Keyring.create());
    }
    const bytes = await readWhole(files, HEADER_PATH, HEADER_BYTES_MAX + 1);
    if (bytes !== undefined) {
      const given = typeof key.secrets === 'function' ? await key.secrets() : key.secrets;
      const secrets = given ?? key.slots?.map(({ secret }) => secret) ?? [];
      const header = await unlockVolumeHeader(bytes, secrets, key.options);
      return new CacheKeys(files, header, header.keyring);
    }
    requireArgument(key.slots !== undefined, 'there is no cache here yet, and no slots for a new one');
    const header = await createVolumeHeader({ ...key.options, slots: key.slots });
    await clear();
    await replaceFile(files, HEADER_PATH, header.bytes);
    return new CacheKeys(files, header, header.keyring);
  }

  private constructor(files: CacheFiles, header: VolumeHeader | undefined, keyring: Keyring) {
    this.#files = files;
    this.#header = header;
    this.#keyring = keyring;
  }

  /** Replaced by {@link change}. */
  get keyring(): Keyring {
    return this.#keyring;
  }

  /** Puts the header back when the folder was lost. */
  async restore(): Promise<void> {
    const header = this.#header;
    if (header === undefined) return;
    if ((await readWhole(this.#files, HEADER_PATH, 1)) === undefined) {
      await replaceFile(this.#files, HEADER_PATH, header.bytes);
    }
  }

  /**
   * A new epoch, with these slots and no others; one change at a time. EINVAL for a key in memory; system errors as they come.
   *
   * @param replaced told the new keys as soon as they hold; the old ones are destroyed after that.
   */
  async change(
    slots: readonly NewSlot[],
    secrets: readonly Secret[],
    replaced: (keyring: Keyring) => void,
  ): Promise<void> {
    const change = this.#changing.then(() => this.#change(slots, secrets, replaced));
    this.#changing = change.catch(() => undefined);
    await change;
  }

  async #change(
    slots: readonly NewSlot[],
    secrets: readonly Secret[],
    replaced: (keyring: Keyring) => void,
  ): Promise<void> {
    let next = this.#header;
    requireArgument(next !== undefined, 'the key of this cache is in memory only');
    const oldIds = new Set(next.slots.map(({ id }) => id));
    for (const slot of slots) next = await next.addSlot(slot);
    const slotIds = next.slots.map(({ id }) => id).filter(id => !oldIds.has(id));
    const rekeyed = await next.rekey(secrets, { slotIds });
    try {
      await replaceFile(this.#files, HEADER_PATH, rekeyed.bytes);
    } catch (error) {
      rekeyed.keyring.destroy();
      throw error;
    }
    const old = this.#keyring;
    this.#header = rekeyed;
    this.#keyring = rekeyed.keyring;
    replaced(rekeyed.keyring);
    old.destroy();
  }

  /** Resolves when no change is under way. */
  async idle(): Promise<void> {
    await this.#changing;
  }

  /**
   * Overwrites the header and removes it: nothing in the folder can be opened any more. A crash leaves the header as it was, or
   * none. System errors as they come.
   */
  async destroyHeader(): Promise<void> {
    this.#header = undefined;
    const [aside, old] = LEFTOVER_PATHS;
    await destroyFile(this.#files, aside);
    if ((await readWhole(this.#files, HEADER_PATH, 1)) === undefined) return;
    await this.#files.rename(HEADER_PATH, old);
    await this.#files.syncFolder('');
    await destroyFile(this.#files, old);
  }

  destroy(): void {
    this.#keyring.destroy();
  }
}

async function removeLeftover(files: CacheFiles, path: string): Promise<void> {
  const bytes = await readWhole(files, path, HEADER_BYTES_MAX + 1);
  if (bytes === undefined) return;
  const header = await readWhole(files, HEADER_PATH, HEADER_BYTES_MAX + 1);
  // A renaming that a power cut has left half done may have two names for one file: that is not to be overwritten.
  if (header !== undefined && Buffer.compare(bytes, header) === 0) await files.remove(path);
  else await destroyFile(files, path);
}

/** Overwrites a small file and removes it; is content when there is none. */
async function destroyFile(files: CacheFiles, path: string): Promise<void> {
  const bytes = await readWhole(files, path, HEADER_BYTES_MAX + 1);
  if (bytes === undefined) return;
  const file = await files.open(path, 'write');
  try {
    await writeFully(file, [randomBytes(bytes.byteLength)], 0);
    await file.sync();
  } finally {
    await file.close();
  }
  await files.remove(path);
  await files.syncFolder('');
}
