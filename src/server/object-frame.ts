/**
 * The header before an object's bytes, in folders and in stores of other kinds. It puts content and version
 * into one file, so that they change together. It also makes the bytes of any two puts differ, so that a
 * server whose versions are hashes of the content never repeats a version.
 *
 *   0   16  "netseal object 1"
 *   16  16  version: random, so that it never repeats (inode numbers and times may)
 *   32   8  length of the object in bytes, u64 little-endian
 */
import { getU64, setU64, viewOf } from '../base/bytes.ts';
import { randomBytes } from '../base/random.ts';
import type { Version } from './store.ts';

export const OBJECT_HEADER_BYTES = 40;
const MAGIC = Buffer.from('netseal object 1', 'latin1');
const VERSION_OFFSET = 16;
const LENGTH_OFFSET = 32;

export interface ObjectHeader {
  readonly version: Version;
  readonly sizeBytes: number;
}

/** Makes a header with a new version, for an object of `sizeBytes` without the header. */
export function newHeader(sizeBytes: number): { bytes: Uint8Array; version: Version } {
  const bytes = new Uint8Array(OBJECT_HEADER_BYTES);
  bytes.set(MAGIC);
  bytes.set(randomBytes(LENGTH_OFFSET - VERSION_OFFSET), VERSION_OFFSET);
  setU64(viewOf(bytes), LENGTH_OFFSET, sizeBytes);
  return { bytes, version: versionIn(bytes) };
}

/**
 * Decodes the header of a file of `fileBytes`. Undefined when the file is no object, or an incomplete one.
 */
export function readHeader(bytes: Uint8Array, fileBytes: number): ObjectHeader | undefined {
  if (bytes.byteLength < OBJECT_HEADER_BYTES || !MAGIC.equals(bytes.subarray(0, MAGIC.byteLength)))
    return undefined;
  const sizeBytes = getU64(viewOf(bytes), LENGTH_OFFSET);
  if (sizeBytes === undefined || sizeBytes + OBJECT_HEADER_BYTES !== fileBytes) return undefined;
  return { version: versionIn(bytes), sizeBytes };
}

function versionIn(header: Uint8Array): Version {
  const { buffer, byteOffset } = header;
  return Buffer.from(buffer, byteOffset + VERSION_OFFSET, LENGTH_OFFSET - VERSION_OFFSET).toString(
    'base64url',
  );
}
