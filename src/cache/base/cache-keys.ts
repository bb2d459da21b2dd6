/**
 * The key of a cache: a volume header of its own in the cache's folder, or none at all, and a key that only this process ever knows.
 */
import { utf8 } from '../../base/bytes.ts';
import { NetsealError, requireArgument } from '../../base/errors.ts';
import { randomBytes } from '../../base/random.ts';
import { HEADER_BYTES_MAX } from '../../keys/header-format.ts';
import { Keyring } from '../../keys/keyring.ts';
import type { NewSlot } from '../../keys/new-slot.ts';
import type { Secret } from '../../keys/secret.ts';
import { createVolumeHeader, type HeaderOptions, unlockVolumeHeader } from '../../keys/unlock.ts';
import type { VolumeHeader } from '../../keys/volume-header.ts';
import { type CacheFiles, readWhole, replaceFile, writeFully } from './files.ts';

export const HEADER_PATH = 'header';
/** Left by a change of keys that a crash has cut short. It may open the cache, so it is not left lying about. */
const NEW_HEADER_PATH = `${HEADER_PATH}.new`;
/**
 * The header of a cache that is being wiped, soon overwritten. It goes last: as long as it is there, and no header, everything
 * in the folder may go, also what is dirty.
 */
export const WIPED_HEADER_PATH: string = `${HEADER_PATH}.old`;
/** Says of a folder without a header that nobody can open what is in it: its key was in the memory of a process. */
export const MEMORY_MARK_PATH = 'memory';
const MEMORY_MARK: Uint8Array = utf8('the key of this cache is in the memory of a process\n');

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

/** What else is in a cache's folder. */
export interface FolderRest {
  /** Whether there may be data that is on no server yet. */
  readonly hasDirty: () => Promise<boolean>;
  /** Removes everything that was sealed under keys which nobody has any more. */
  readonly clear: () => Promise<void>;
}

export class CacheKeys {
  readonly #files: CacheFiles;
  #header: VolumeHeader | undefined;
  #keyring: Keyring;
  #changing: Promise<unknown> = Promise.resolve();

  /**
   * Unlocks the header, or makes one. EKEY, EAUTH, EFORMAT, EUNSUPPORTED as unlocking throws them; EINVAL when there is none and
   * no slots for one are given; EEXIST when there is one and the key is to be in memory; EFORMAT when there is none, and dirty data
   * that its backup could still open; system errors as they come.
   */
  static async open(files: CacheFiles, key: CacheKey, rest: FolderRest): Promise<CacheKeys> {
    await removeLeftover(files, NEW_HEADER_PATH);
    const bytes = await readWhole(files, HEADER_PATH, HEADER_BYTES_MAX + 1);
    if (bytes !== undefined) {
      await removeLeftover(files, WIPED_HEADER_PATH);
      if (key === 'memory') {
        throw new NetsealError('EEXIST', 'there is a cache with a key of its own here: wipe it first');
      }
      await files.remove(MEMORY_MARK_PATH);
      const given = typeof key.secrets === 'function' ? await key.secrets() : key.secrets;
      const secrets = given ?? key.slots?.map(({ secret }) => secret) ?? [];
      const header = await unlockVolumeHeader(bytes, secrets, key.options);
      return new CacheKeys(files, header, header.keyring);
    }
    if (key === 'memory') {
      await clearRest(files, rest);
      await replaceFile(files, MEMORY_MARK_PATH, MEMORY_MARK);
      return new CacheKeys(files, undefined, Keyring.create());
    }
    requireArgument(key.slots !== undefined, 'there is no cache here yet, and no slots for a new one');
    const header = await createVolumeHeader({ ...key.options, slots: key.slots });
    await clearRest(files, rest);
    await replaceFile(files, HEADER_PATH, header.bytes);
    await files.remove(MEMORY_MARK_PATH);
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

  /** Puts the header, or the mark of a key in memory, back when the folder was lost. */
  async restore(): Promise<void> {
    const header = this.#header;
    const path = header === undefined ? MEMORY_MARK_PATH : HEADER_PATH;
    if ((await readWhole(this.#files, path, 1)) === undefined) {
      await replaceFile(this.#files, path, header?.bytes ?? MEMORY_MARK);
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
   * Overwrites the header: nothing in the folder can be opened any more. A crash leaves the header as it was, or none. What is
   * left of it, {@link WIPED_HEADER_PATH}, is to be removed after everything else. System errors as they come.
   */
  async destroyHeader(): Promise<void> {
    this.#header = undefined;
    await destroyFile(this.#files, NEW_HEADER_PATH);
    if ((await readWhole(this.#files, HEADER_PATH, 1)) === undefined) return;
    await this.#files.rename(HEADER_PATH, WIPED_HEADER_PATH);
    await this.#files.syncFolder('');
    await overwriteFile(this.#files, WIPED_HEADER_PATH);
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

/** Removes what was sealed under keys that nobody has; EFORMAT where somebody may still have a backup of them, and misses dirty data. */
async function clearRest(files: CacheFiles, { hasDirty, clear }: FolderRest): Promise<void> {
  const isWiped = (await readWhole(files, WIPED_HEADER_PATH, 1)) !== undefined;
  const isOfMemory = (await readWhole(files, MEMORY_MARK_PATH, 1)) !== undefined;
  if (!(isWiped || isOfMemory) && (await hasDirty())) {
    throw new NetsealError(
      'EFORMAT',
      'the header of this cache is gone, and there is data that is on no server yet: put a backup of the file "header" back, or remove the folder "dirty" to give it up',
    );
  }
  if (isWiped) await overwriteFile(files, WIPED_HEADER_PATH);
  await clear();
  if (isWiped) await files.remove(WIPED_HEADER_PATH);
}

/** Overwrites a small file and removes it; is content when there is none. */
async function destroyFile(files: CacheFiles, path: string): Promise<void> {
  await overwriteFile(files, path);
  await files.remove(path);
  await files.syncFolder('');
}

async function overwriteFile(files: CacheFiles, path: string): Promise<void> {
  const bytes = await readWhole(files, path, HEADER_BYTES_MAX + 1);
  if (bytes === undefined) return;
  const file = await files.open(path, 'write');
  try {
    await writeFully(file, [randomBytes(bytes.byteLength)], 0);
    await file.sync();
  } finally {
    await file.close();
  }
}
