/**
 * Opens only the header of a cache, to look at its slots or change them. The cache itself must not be open.
 */
import { NetsealError, systemCodeOf } from '../../base/errors.ts';
import { HEADER_BYTES_MAX } from '../../keys/header-format.ts';
import type { Secret } from '../../keys/secret.ts';
import type { VolumeHeader } from '../../keys/volume-header.ts';
import { HEADER_PATH, unlockCacheHeader } from './cache-keys.ts';
import { readWhole, replaceFile, systemFiles } from './files.ts';
import { Health } from './health.ts';
import { OwnerLock } from './owner-lock.ts';

export interface OpenHeader {
  readonly header: VolumeHeader;
  /**
   * Replaces the header by `next`, which was made from it. EIO, EFULL, EDENIED; then the file is unchanged.
   */
  replace(next: VolumeHeader): Promise<void>;
  /** Destroys the header's keys, and releases the cache. */
  close(): void;
}

/**
 * Unlocks the header of the cache in folder `path`. Other processes cannot open the cache until `close`.
 * ENOENT when there is no cache; EDENIED, naming the owner, while another process has it; EKEY, EAUTH,
 * EFORMAT as unlocking throws them.
 *
 * @param secret called only when the cache is there and no other process has it.
 */
export async function openHeader(path: string, secret: () => Promise<Secret>): Promise<OpenHeader> {
  const files = systemFiles(path);
  const read = (): Promise<Uint8Array<ArrayBuffer> | undefined> =>
    readWhole(files, HEADER_PATH, HEADER_BYTES_MAX + 1);
  try {
    if ((await read()) === undefined) throw new NetsealError('ENOENT', `there is no cache in ${path}`);
    const lock = OwnerLock.acquire(path, Date.now());
    try {
      // With the lock, nothing else changes the header from now on.
      const bytes = (await read()) ?? new Uint8Array(0);
      const header = await unlockCacheHeader(bytes, await secret());
      return {
        header,
        replace: async next => {
          try {
            await replaceFile(files, HEADER_PATH, next.bytes);
          } catch (error) {
            throw Health.errorOf(`the header of the cache in ${path} could not be written`, error);
          }
        },
        close: () => {
          header.keyring.destroy();
          lock.release();
        },
      };
    } catch (error) {
      lock.release();
      throw error;
    }
  } catch (error) {
    if (systemCodeOf(error) === 'ENOTDIR') throw new NetsealError('ENOENT', `there is no cache in ${path}`);
    throw error instanceof Error && 'syscall' in error
      ? Health.errorOf(`the cache cannot be opened: ${path}`, error)
      : error;
  }
}
