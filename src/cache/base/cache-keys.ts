/**
 * The key of a cache. Either a header in the cache's folder holds it, of the same format as a volume's, or it
 * is in the memory of this process only.
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
/**
 * A new header that a crash left before it was renamed into place. It may open the cache, so it is destroyed.
 */
const NEW_HEADER_PATH = `${HEADER_PATH}.new`;
/**
 * The header of a cache that is being wiped. It is removed last: while it is there and {@link HEADER_PATH} is
 * not, everything in the folder may be removed, dirty data as well.
 */
export const WIPED_HEADER_PATH: string = `${HEADER_PATH}.old`;
/**
 * A notice that a folder has no header because its key is, or was, in the memory of a process. Nothing of an
 * earlier process can be opened.
 */
export const MEMORY_NOTICE_PATH = 'memory';
const MEMORY_NOTICE: Uint8Array = utf8('the key of this cache is in the memory of a process\n');

/** How a cache's key is found. */
export type CacheKey =
  /** A new key that never leaves this process. Whatever an earlier process has left is removed. */
  | 'memory'
  | {
      /**
       * Any one of them opens the header. A function is called only when the cache is there and no other
       * process has it.
       */
      readonly secrets?: Secret | readonly Secret[] | (() => Promise<Secret>);
      /** For a new header, when there is none. */
      readonly slots?: readonly NewSlot[];
      readonly options?: HeaderOptions;
    };

/** The rest of a cache's folder. */
export interface FolderRest {
  /** Whether there may be data that is on no server yet. */
  readonly hasDirty: () => Promise<boolean>;
  /** Removes everything that was sealed under keys that are lost. */
  readonly clear: () => Promise<void>;
}

export class CacheKeys {
  readonly #files: CacheFiles;
  #header: VolumeHeader | undefined;
  #keyring: Keyring;
  #changing: Promise<unknown> = Promise.resolve();

  /**
   * Unlocks the header, or takes `made` for one. Errors:
   *
   * - EKEY, EAUTH, EFORMAT, EUNSUPPORTED: as unlocking throws them.
   * - EINVAL: there is no header, and no slots for a new one are given.
   * - EEXIST: there is a header, and the key is to be in memory.
   * - EFORMAT: the header is gone, and there is dirty data that a backup of it could still open.
   * - System errors as they come.
   *
   * @param made a new header, for a folder that has none.
   */
  static async open(
    files: CacheFiles,
    key: CacheKey,
    made: VolumeHeader | undefined,
    rest: FolderRest,
  ): Promise<CacheKeys> {
    await removeLeftover(files, NEW_HEADER_PATH);
    const bytes = await readWhole(files, HEADER_PATH, HEADER_BYTES_MAX + 1);
    if (bytes !== undefined) {
      made?.keyring.destroy();
      await removeLeftover(files, WIPED_HEADER_PATH);
      if (key === 'memory') {
        throw new NetsealError('EEXIST', 'there is a cache with a key of its own here: wipe it first');
      }
      await files.remove(MEMORY_NOTICE_PATH);
      const given = typeof key.secrets === 'function' ? await key.secrets() : key.secrets;
      const secrets = given ?? key.slots?.map(({ secret }) => secret) ?? [];
      const header = await unlockCacheHeader(bytes, secrets, key.options);
      return new CacheKeys(files, header, header.keyring);
    }
    if (key === 'memory') {
      await clearFolder(files, rest);
      await replaceFile(files, MEMORY_NOTICE_PATH, MEMORY_NOTICE);
      return new CacheKeys(files, undefined, Keyring.create());
    }
    requireArgument(key.slots !== undefined, 'there is no cache here yet, and no slots for a new one');
    // A header that was there a moment ago was wiped by another process meanwhile.
    const header = made ?? (await createVolumeHeader({ ...key.options, slots: key.slots }));
    await clearFolder(files, rest);
    await replaceFile(files, HEADER_PATH, header.bytes);
    await files.remove(MEMORY_NOTICE_PATH);
    return new CacheKeys(files, header, header.keyring);
  }

  private constructor(files: CacheFiles, header: VolumeHeader | undefined, keyring: Keyring) {
    this.#files = files;
    this.#header = header;
    this.#keyring = keyring;
  }

  /** The keys. {@link change} replaces them. */
  get keyring(): Keyring {
    return this.#keyring;
  }

  /**
   * Writes the header, or the notice of a key in memory, again when the folder was lost. System errors as
   * they come.
   */
  async restore(): Promise<void> {
    const header = this.#header;
    const path = header === undefined ? MEMORY_NOTICE_PATH : HEADER_PATH;
    if ((await readWhole(this.#files, path, 1)) === undefined) {
      await replaceFile(this.#files, path, header?.bytes ?? MEMORY_NOTICE);
    }
  }

  /**
   * Begins a new epoch, with these slots and no others. Changes are made one after another. EINVAL for a key
   * in memory; system errors as they come, then the old keys stay.
   *
   * @param replaced called with the new keys when their header is on the disk. The old keys are destroyed
   *   after it.
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

  /** Waits until no change is under way. */
  async idle(): Promise<void> {
    await this.#changing;
  }

  /**
   * Overwrites the header, so that nothing in the folder can be opened any more. After a crash, the header is
   * unchanged or gone. The caller removes the overwritten file, {@link WIPED_HEADER_PATH}, after everything
   * else. System errors as they come.
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

/**
 * Unlocks the header of a cache. Rejects as `unlockVolumeHeader` does; with EUNSUPPORTED when it has
 * settings. Headers of today's caches have none, so a later netseal can use them to say which features a
 * reader must know.
 */
export async function unlockCacheHeader(
  bytes: Uint8Array,
  secrets: Secret | readonly Secret[],
  options?: HeaderOptions,
): Promise<VolumeHeader> {
  const header = await unlockVolumeHeader(bytes, secrets, options);
  if (header.settings.byteLength === 0) return header;
  header.keyring.destroy();
  throw new NetsealError(
    'EUNSUPPORTED',
    'the cache is of a newer netseal, or its header is that of a volume: use a newer netseal',
  );
}

async function removeLeftover(files: CacheFiles, path: string): Promise<void> {
  const bytes = await readWhole(files, path, HEADER_BYTES_MAX + 1);
  if (bytes === undefined) return;
  const header = await readWhole(files, HEADER_PATH, HEADER_BYTES_MAX + 1);
  // A power cut during a rename can leave two names for one file. Then overwriting the leftover would destroy
  // the header.
  if (header !== undefined && Buffer.compare(bytes, header) === 0) await files.remove(path);
  else await destroyFile(files, path);
}

/**
 * Removes everything that was sealed under lost keys. EFORMAT when there is dirty data and the keys may not
 * be lost: someone may have a backup of the header.
 */
async function clearFolder(files: CacheFiles, { hasDirty, clear }: FolderRest): Promise<void> {
  const isWiped = (await readWhole(files, WIPED_HEADER_PATH, 1)) !== undefined;
  const hasMemoryNotice = (await readWhole(files, MEMORY_NOTICE_PATH, 1)) !== undefined;
  if (!(isWiped || hasMemoryNotice) && (await hasDirty())) {
    throw new NetsealError(
      'EFORMAT',
      'the header of this cache is gone, and there is data that is on no server yet: put a backup of the file "header" back, or remove the folder "dirty" to give it up',
    );
  }
  if (isWiped) await overwriteFile(files, WIPED_HEADER_PATH);
  await clear();
  if (isWiped) await files.remove(WIPED_HEADER_PATH);
}

/** Overwrites a small file and removes it, if it is there. */
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
