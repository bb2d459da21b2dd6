/** Reads a client's head from the store, and replaces it by compare-and-swap. */
import { createHash } from 'node:crypto';
import { isNetsealError, NetsealError } from '../../base/errors.ts';
import type { Id } from '../../base/ids.ts';
import { payloadToSealedBytes } from '../../unit/record-format.ts';
import type { PutCondition, Version } from '../store.ts';
import { decodeClientHead, encodeClientHead, HEAD_BYTES_MAX, type Head } from './head-format.ts';
import { HEAD_PREFIX } from './object-keys.ts';
import type { Sealing } from './sealing.ts';

export interface HeadObject {
  /** The store's version of the object. */
  readonly version: Version;
  /** SHA-256 of the sealed record, in hexadecimal. */
  readonly hash: string;
  /** The head, or the error for one that cannot be read: EAUTH, EFORMAT, ETRUNCATED, EKEY, EUNSUPPORTED. */
  readonly head: Head | NetsealError;
}

const OBJECT_BYTES_MAX: number = payloadToSealedBytes(HEAD_BYTES_MAX, 'control');

/** Reads a head. Throws EMISSING and the store's other errors. */
export async function readHeadObject(
  { store, control }: Pick<Sealing, 'store' | 'control'>,
  client: Id,
  signal?: AbortSignal,
): Promise<HeadObject> {
  const range = { offsetBytes: 0, lengthBytes: OBJECT_BYTES_MAX };
  const { bytes, version } = await store.get(HEAD_PREFIX + client, { range, signal });
  const hash = hashOf(bytes);
  try {
    const at = { kind: 'head', objectId: client, index: 0 } as const;
    return { version, hash, head: decodeClientHead(control.open(at, bytes, HEAD_BYTES_MAX)) };
  } catch (cause) {
    if (!isNetsealError(cause)) throw cause;
    const message = `head of client ${client}: ${cause.message}`;
    return { version, hash, head: new NetsealError(cause.code, message, { cause }) };
  }
}

/**
 * Seals and puts a head. Throws ECONFLICT when the condition does not hold, EUNCERTAIN when the answer was
 * lost, and the store's other errors.
 *
 * @returns SHA-256 of the sealed record.
 */
export async function putHeadObject(
  { store, control }: Pick<Sealing, 'store' | 'control'>,
  client: Id,
  head: Head,
  condition: PutCondition,
): Promise<string> {
  const { bytes } = control.seal({ kind: 'head', objectId: client, index: 0 }, encodeClientHead(head));
  await store.put(HEAD_PREFIX + client, [bytes], { condition, bytesAreUnique: true });
  return hashOf(bytes);
}

function hashOf(sealed: Uint8Array): string {
  return createHash('sha256').update(sealed).digest('hex');
}
