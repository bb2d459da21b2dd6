/**
 * Writes files of a volume, or parts of them, to standard output, one after the other. Only the units that
 * are needed are fetched. For a large file it opens the volume a second time, with worker threads.
 */
import type { NetsealError } from '../../base/errors.ts';
import { MIB } from '../../base/geometry.ts';
import { giveTurn } from '../../base/turns.ts';
import type { Pipeline } from '../../pipeline/pipeline.ts';
import type { FileReader, Piece } from '../../volume/content/file-reader.ts';
import type { Volume } from '../../volume/volume.ts';
import { loadPipeline, loadVolume } from '../lib/lazy.ts';
import type { PathFrame } from './each-path.ts';
import type { VolumeAccess } from './opening.ts';
import { at, failAt } from './path-errors.ts';
import { pathBytes, type VolumePath } from './paths.ts';

export interface WriteOptions {
  /** The number of threads that the user asked for, if any: the volume that is open already has them. */
  readonly workers?: number | undefined;
  /** Where to begin in each file. Default: 0. */
  readonly offset?: number | undefined;
  /** How many bytes to write of each file, at most. Default: all. */
  readonly length?: number | undefined;
}

/** The least to read that is worth starting threads for. With less, all is read before they have started. */
const THREADS_FROM_BYTES: number = 64 * MIB;
const ZEROS = new Uint8Array(256 * 1024);
/** How much is written before signals get a turn. A pipe or file takes this in about a millisecond. */
const TURN_BYTES: number = 4 * MIB;

/**
 * Writes the files. The first failure ends it all: after a gap, a reader would take the bytes that follow for
 * the missing ones.
 */
export async function writeFiles(
  paths: readonly VolumePath[],
  { workers, offset = 0, length = Number.POSITIVE_INFINITY }: WriteOptions,
  frame: PathFrame,
): Promise<void> {
  const threads = new Threads(frame, workers);
  try {
    for (const path of paths) await at(path, writeFile(threads, path, offset, offset + length, frame));
  } finally {
    await threads.close();
  }
}

/** Opens files. For a large one, opens the volume a second time, with worker threads. */
class Threads {
  readonly #access: VolumeAccess;
  readonly #workers: number | undefined;
  #pipeline: Pipeline | undefined;
  #volume: Volume | undefined;

  constructor(access: VolumeAccess, workers: number | undefined) {
    this.#access = access;
    this.#workers = workers;
  }

  async open(path: VolumePath, fromBytes: number, toBytes: number): Promise<FileReader> {
    const { volume } = this.#access;
    const { inode } = await volume.find(pathBytes(path), { follow: true });
    const sizeBytes = inode.type === 'file' ? inode.sizeBytes : 0;
    const isLarge = Math.min(toBytes, sizeBytes) - fromBytes >= THREADS_FROM_BYTES;
    const reading = isLarge && this.#workers === undefined ? await this.#threaded() : volume;
    return await reading.openFile(pathBytes(path));
  }

  async close(): Promise<void> {
    try {
      await this.#volume?.close();
    } finally {
      await this.#pipeline?.close();
    }
  }

  async #threaded(): Promise<Volume> {
    const [{ openPipeline }, { Volume }] = await Promise.all([loadPipeline(), loadVolume()]);
    this.#pipeline ??= await openPipeline();
    this.#volume ??= await Volume.open({ ...this.#access, pipeline: this.#pipeline });
    return this.#volume;
  }
}

async function writeFile(
  threads: Threads,
  path: VolumePath,
  fromBytes: number,
  toBytes: number,
  { print, signal }: PathFrame,
): Promise<void> {
  const reader = await threads.open(path, fromBytes, toBytes);
  for await (const piece of reader.pieces(fromBytes, toBytes, { signal })) {
    if (piece.error !== undefined) throw lostError(path, piece, piece.error);
    const { bytes, lengthBytes } = piece;
    if (bytes !== undefined) await print(bytes);
    await writeZeros(lengthBytes - (bytes?.byteLength ?? 0), print);
  }
}

/** Writes the zeros of a hole of any size. Gives signals their turn, even if every write ends at once. */
async function writeZeros(lengthBytes: number, print: PathFrame['print']): Promise<void> {
  for (let done = 0; done < lengthBytes; done += ZEROS.byteLength) {
    if (done % TURN_BYTES === 0) await giveTurn();
    await print(ZEROS.subarray(0, Math.min(lengthBytes - done, ZEROS.byteLength)));
  }
}

function lostError(path: VolumePath, { offsetBytes, lengthBytes }: Piece, cause: NetsealError): NetsealError {
  const endBytes = offsetBytes + lengthBytes;
  const text = `bytes ${offsetBytes} to ${endBytes - 1} cannot be read: ${cause.message}; to write what follows them, use --offset ${endBytes}`;
  return failAt(path, cause.code, text);
}
