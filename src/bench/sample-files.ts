/**
 * Reads parts of single files, to the end that a file really has. The size that a file system tells is only a
 * claim: files below `/proc` claim 0, those below `/sys` 4096, and those of FUSE file systems may claim any.
 */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { KIB } from '../base/geometry.ts';
import type { Chunk } from './sampling.ts';

/** A part of one file, in memory. */
export interface Piece {
  /** Where it starts in its file: a multiple of the largest unit size under comparison. */
  readonly offsetBytes: number;
  readonly bytes: Uint8Array;
}

/** Files that claim no size are read in parts of this length to find their end. */
const PROBE_BYTES: number = 64 * KIB;

/**
 * Reads a file to find its length. Stops beyond `limitBytes`, because some files have no end: a result above
 * the limit means that there is more.
 */
export async function findEnd(path: string, limitBytes: number, signal?: AbortSignal): Promise<number> {
  const file = await openToRead(path);
  try {
    const bytes = new Uint8Array(PROBE_BYTES);
    let endBytes = 0;
    while (endBytes <= limitBytes) {
      signal?.throwIfAborted();
      const { bytesRead } = await file.read(bytes, 0, PROBE_BYTES, endBytes);
      if (bytesRead === 0) break;
      endBytes += bytesRead;
    }
    return endBytes;
  } finally {
    await file.close();
  }
}

export interface ReadPlan {
  readonly chunks: readonly Chunk[];
  /** The size that the file system told. */
  readonly claimedBytes: number;
  readonly chunkBytes: number;
  /** How much may be read beyond the chunks. */
  readonly roomBytes: number;
}

export interface ReadResult {
  /** None only when the file is empty. */
  readonly pieces: readonly Piece[];
  /** The claimed size, or the true one as far as reading showed it. */
  readonly sizeBytes: number;
  /** True when the file goes on beyond `sizeBytes`. */
  readonly isCut: boolean;
}

/**
 * Reads the chunks of one file. Reads on when the file has more than it claims, and from the start when it is
 * so much shorter that it ends before all chunks. Rejects with the system's error, or the signal's reason.
 */
export async function readChunks(path: string, plan: ReadPlan, signal?: AbortSignal): Promise<ReadResult> {
  const file = await openToRead(path);
  try {
    const pieces: Piece[] = [];
    let sizeBytes = plan.claimedBytes;
    for (const { offsetBytes, lengthBytes } of plan.chunks) {
      signal?.throwIfAborted();
      const bytes = await readUpTo(file, offsetBytes, lengthBytes);
      if (bytes.byteLength > 0) pieces.push({ offsetBytes, bytes });
      if (bytes.byteLength < lengthBytes) sizeBytes = Math.min(sizeBytes, offsetBytes + bytes.byteLength);
    }
    const last = pieces.at(-1);
    if (last === undefined) return sizeBytes === 0 ? EMPTY : await readOn(file, 0, plan, signal);

    const endBytes = last.offsetBytes + last.bytes.byteLength;
    if (endBytes < plan.claimedBytes || !(await hasMore(file, endBytes))) {
      return { pieces, sizeBytes, isCut: false };
    }
    const rest = await readOn(file, last.offsetBytes, plan, signal);
    return { ...rest, pieces: [...pieces.slice(0, -1), ...rest.pieces] };
  } finally {
    await file.close();
  }
}

const EMPTY: ReadResult = { pieces: [], sizeBytes: 0, isCut: false };

/** Reads from a multiple of the chunk size to the file's end, or until the room is used up. */
async function readOn(
  file: FileHandle,
  startBytes: number,
  { chunks, chunkBytes, roomBytes }: ReadPlan,
  signal?: AbortSignal,
): Promise<ReadResult> {
  // What stands at the start was to be read as one of the chunks.
  const limitBytes = startBytes + (chunks.at(-1)?.lengthBytes ?? 0) + roomBytes;
  const pieces: Piece[] = [];
  let endBytes = startBytes;
  for (let offsetBytes = startBytes; offsetBytes < limitBytes; offsetBytes += chunkBytes) {
    signal?.throwIfAborted();
    const bytes = await readUpTo(file, offsetBytes, Math.min(chunkBytes, limitBytes - offsetBytes));
    if (bytes.byteLength > 0) pieces.push({ offsetBytes, bytes });
    endBytes = offsetBytes + bytes.byteLength;
    if (bytes.byteLength < chunkBytes) break;
  }
  return { pieces, sizeBytes: endBytes, isCut: await hasMore(file, endBytes) };
}

async function hasMore(file: FileHandle, offsetBytes: number): Promise<boolean> {
  return (await readUpTo(file, offsetBytes, 1)).byteLength > 0;
}

/** Opens a file so that reading never waits, as `/proc/kmsg` would for the next message. */
function openToRead(path: string): Promise<FileHandle> {
  return open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
}

/** Reads `lengthBytes`, or fewer if the file ends before. */
async function readUpTo(file: FileHandle, offsetBytes: number, lengthBytes: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(lengthBytes);
  let filled = 0;
  while (filled < lengthBytes) {
    const { bytesRead } = await file.read(bytes, filled, lengthBytes - filled, offsetBytes + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return bytes.subarray(0, filled);
}
