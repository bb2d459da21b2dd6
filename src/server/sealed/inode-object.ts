/** Reads inode objects from the store, and replaces them by compare-and-swap: that put is the commit. */
import { createHash } from 'node:crypto';
import { isNetsealError, NetsealError } from '../../base/errors.ts';
import { UNIT_BYTES_MAX } from '../../base/geometry.ts';
import type { Id } from '../../base/ids.ts';
import { peekHeader, RECORD_BYTES_MAX } from '../../unit/record-format.ts';
import type { PutCondition, Version } from '../store.ts';
import type { InodeObject } from './inode.ts';
import { decodeInodeObject, encodeInodeObject } from './inode-format.ts';
import { inodeKey } from './object-keys.ts';
import type { Sealing } from './sealing.ts';

/** An inode object as it was read or put: its key and content, its version in the store, and its hash. */
export interface StoredInode {
  readonly key: Id;
  readonly object: InodeObject;
  /** The store's version of the object. */
  readonly version: Version;
  /** SHA-256 of the sealed record, in hexadecimal. */
  readonly hash: string;
  /** The epoch under which the record is sealed. */
  readonly epoch: number;
}

/**
 * Reads and opens the inode object that has a key. The record was sealed for that key, so an object that the
 * server shows under another key does not open. Throws EMISSING, EFORMAT, ETRUNCATED, EAUTH, EKEY,
 * EUNSUPPORTED, and the store's other errors.
 */
export async function readInodeObject(
  { store, control }: Pick<Sealing, 'store' | 'control'>,
  key: Id,
  signal?: AbortSignal,
): Promise<StoredInode> {
  const range = { offsetBytes: 0, lengthBytes: RECORD_BYTES_MAX };
  const { bytes, version, sizeBytes } = await store.get(inodeKey(key), { range, signal });
  if (sizeBytes > RECORD_BYTES_MAX) {
    throw new NetsealError('EFORMAT', `inode ${key}: an object of ${sizeBytes} bytes is no inode`);
  }
  try {
    const plain = control.open({ kind: 'inode', objectId: key, index: 0 }, bytes, UNIT_BYTES_MAX);
    return { key, object: decodeInodeObject(plain, key), version, ...describe(bytes) };
  } catch (cause) {
    if (!isNetsealError(cause)) throw cause;
    throw new NetsealError(cause.code, `inode ${key}: ${cause.message}`, { cause });
  }
}

/**
 * Seals and puts an inode under a key. Throws ECONFLICT when the condition does not hold, EUNCERTAIN when the
 * answer was lost, and the store's other errors. After a lost answer, the nonce of the newest writer in the
 * store tells whether the put has happened.
 */
export async function putInodeObject(
  { store, control }: Pick<Sealing, 'store' | 'control'>,
  key: Id,
  object: InodeObject,
  condition: PutCondition,
): Promise<StoredInode> {
  const { bytes } = control.seal({ kind: 'inode', objectId: key, index: 0 }, encodeInodeObject(object));
  const { version } = await store.put(inodeKey(key), [bytes], { condition, bytesAreUnique: true });
  return { key, object, version, ...describe(bytes) };
}

function describe(sealed: Uint8Array): Pick<StoredInode, 'hash' | 'epoch'> {
  const hash = createHash('sha256').update(sealed).digest('hex');
  return { hash, epoch: peekHeader(sealed).epoch };
}
