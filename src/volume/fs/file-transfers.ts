/** Transfers of more than one call of `read` or `write`: whole files, several buffers, zeros. */
import { requireList } from '../../base/arguments.ts';
import { copyBytes } from '../../base/bytes.ts';
import { requireArgument } from '../../base/errors.ts';
import { MIB } from '../../base/geometry.ts';
import type { File, NetfsFile, WaitOptions } from '../../netfs/file.ts';
import { viewBytes } from './node-values.ts';

const READ_BYTES: number = MIB;
const ZEROS_BYTES: number = MIB;

/** Reads from the file's own position to its end. The caller owns the bytes. Rejects as `read` does. */
export async function readAll(file: File, signal: AbortSignal | undefined): Promise<Buffer<ArrayBuffer>> {
  const pieces: Buffer[] = [];
  for (;;) {
    const leftBytes = pieces.length === 0 ? file.sizeBytes + 1 : READ_BYTES;
    const piece = Buffer.allocUnsafeSlow(Math.max(1, Math.min(leftBytes, READ_BYTES)));
    const { bytesRead } = await file.read(piece, { signal });
    if (bytesRead === 0) break;
    pieces.push(piece.subarray(0, bytesRead));
  }
  return Buffer.concat(pieces);
}

/** Does the same into `given`. Returns the part of it that was filled. EINVAL when the rest does not fit. */
export async function readInto(
  file: File,
  given: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<Buffer<ArrayBuffer>> {
  let doneBytes = 0;
  while (doneBytes < given.byteLength) {
    const { bytesRead } = await file.read(given.subarray(doneBytes), { signal });
    if (bytesRead === 0) break;
    doneBytes += bytesRead;
  }
  const isFull = doneBytes === given.byteLength;
  const { bytesRead } = isFull ? await file.read(new Uint8Array(1), { signal }) : { bytesRead: 0 };
  requireArgument(bytesRead === 0, `the file does not fit into ${given.byteLength} bytes`);
  return Buffer.from(given.buffer as ArrayBuffer, given.byteOffset, doneBytes);
}

/**
 * Writes all bytes, at a position or at the file's own. Rejects when not all could be written, as `write`
 * does.
 */
export async function writeAll(
  file: File,
  bytes: Uint8Array,
  position: number | undefined,
  signal?: AbortSignal,
): Promise<void> {
  for (let doneBytes = 0; doneBytes < bytes.byteLength; ) {
    const at = position === undefined ? undefined : position + doneBytes;
    doneBytes += (await file.write(bytes.subarray(doneBytes), { position: at, signal })).bytesWritten;
  }
}

/** Writes zeros to a range, but not beyond what `limit` returns at the time of each write. */
export async function writeZeros(
  file: NetfsFile,
  fromBytes: number,
  toBytes: number,
  options: WaitOptions | undefined,
  limit: () => number,
): Promise<void> {
  const zeros = new Uint8Array(Math.min(ZEROS_BYTES, toBytes - fromBytes));
  for (let at = fromBytes; ; ) {
    const lengthBytes = Math.min(zeros.byteLength, Math.min(toBytes, limit()) - at);
    if (lengthBytes <= 0) return;
    const part = zeros.subarray(0, lengthBytes);
    at += await file.writeAt(part, at, options);
  }
}

/** Returns the memory that a caller of `readFile` gives for the content; undefined for none. */
export function givenBuffer(options: unknown, sizeBytes: number): Uint8Array | undefined {
  if (typeof options !== 'object' || options === null || !('buffer' in options)) return undefined;
  const { buffer } = options;
  if (buffer === undefined) return undefined;
  return viewBytes('options.buffer', typeof buffer === 'function' ? buffer(sizeBytes) : buffer);
}

/** Returns the bytes of several buffers. EINVAL for anything else. */
export function partsOf(buffers: unknown): Uint8Array[] {
  requireList('buffers', buffers);
  return buffers.map((buffer, at) => viewBytes(`buffers[${at}]`, buffer));
}

/** Returns how many bytes several buffers hold. */
export function lengthOf(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, { byteLength }) => sum + byteLength, 0);
}

/** Copies bytes into several buffers, one after the other, as far as they go. */
export function scatter(bytes: Uint8Array, parts: readonly Uint8Array[]): void {
  let at = 0;
  for (const part of parts) {
    const piece = bytes.subarray(at, at + part.byteLength);
    copyBytes(piece, part);
    at += piece.byteLength;
  }
}
