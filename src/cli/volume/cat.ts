/**
 * `netseal cat`: writes files, or parts of them, to standard output. Only the units that are needed are
 * fetched.
 */
import { Command } from 'commander';
import type { NetsealError } from '../../base/errors.ts';
import { MIB } from '../../base/geometry.ts';
import type { Pipeline } from '../../pipeline/pipeline.ts';
import type { FileReader, Piece } from '../../volume/content/file-reader.ts';
import type { Volume } from '../../volume/volume.ts';
import { loadPipeline, loadVolume } from '../lib/lazy.ts';
import { sizeOption } from '../lib/value-options.ts';
import { onPaths, type PathFrame } from './each-path.ts';
import type { VolumeAccess } from './opening.ts';
import { at, failAt } from './path-errors.ts';
import { type PathOptions, parseVolumePath, pathBytes, type VolumePath, withPathOptions } from './paths.ts';

interface CatOptions extends PathOptions {
  readonly offset?: number;
  readonly length?: number;
}

/** With less to read, threads would have nothing left to do once they have started. */
const THREADS_FROM_BYTES: number = 64 * MIB;
const ZEROS = new Uint8Array(256 * 1024);

/** `netseal cat STORE:/path...` */
export function command(): Command {
  const cat = new Command('cat')
    .description('Write files of a volume to standard output.')
    .argument('<path...>', 'STORE:/path of a file')
    .addOption(sizeOption('--offset <size>', 'begin at this byte of each file, counted from 0'))
    .addOption(sizeOption('--length <size>', 'write at most so many bytes of each file'));
  return withPathOptions(cat, { json: false }).action(writeFiles);
}

function writeFiles(texts: readonly string[], options: CatOptions): Promise<void> {
  const paths = texts.map(text => parseVolumePath(text, options));
  const { offset = 0, length = Number.POSITIVE_INFINITY } = options;
  return onPaths(paths, { workers: 0, ...options }, async frame => {
    const threads = new Threads(frame, options.workers);
    try {
      // The first failure ends it all: after a gap, a reader would take what follows for what was missing.
      for (const path of paths) await at(path, copyOut(threads, path, offset, offset + length, frame));
    } finally {
      await threads.close();
    }
  });
}

/** Opens files. For a large one, opens the volume a second time, with worker threads. */
class Threads {
  readonly #access: VolumeAccess;
  readonly #workers: number | undefined;
  #pipeline: Pipeline | undefined;
  #volume: Volume | undefined;

  /** @param workers the number that the user asked for, if any: the volume that is open already has them. */
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

async function copyOut(
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
    for (let left = lengthBytes - (bytes?.byteLength ?? 0); left > 0; left -= ZEROS.byteLength) {
      await print(ZEROS.subarray(0, Math.min(left, ZEROS.byteLength)));
    }
  }
}

function lostError(path: VolumePath, { offsetBytes, lengthBytes }: Piece, cause: NetsealError): NetsealError {
  const endBytes = offsetBytes + lengthBytes;
  const text = `bytes ${offsetBytes} to ${endBytes - 1} cannot be read: ${cause.message}; to write what follows them, use --offset ${endBytes}`;
  return failAt(path, cause.code, text);
}
