/** `netseal cat`: files, or parts of them, to standard output. Only the units that are asked for are fetched. */
import { Command, Option } from 'commander';
import type { NetsealError } from '../../base/errors.ts';
import { MIB } from '../../base/geometry.ts';
import { openPipeline, type Pipeline } from '../../pipeline/pipeline.ts';
import type { FileReader, Piece } from '../../volume/content/file-reader.ts';
import { Volume } from '../../volume/volume.ts';
import { withInterrupt } from '../lib/interrupt.ts';
import { parseSize } from '../lib/sizes.ts';
import { writeOut } from '../lib/write-out.ts';
import type { VolumeAccess } from './access.ts';
import {
  at,
  failAt,
  type PathOptions,
  parseVolumePath,
  pathBytes,
  type VolumePath,
  withPathOptions,
  withVolumePaths,
} from './paths.ts';

interface CatOptions extends PathOptions {
  readonly offset?: number;
  readonly length?: number;
}

/** Below this, threads would have nothing left to do when they have started. */
const THREADS_FROM_BYTES: number = 64 * MIB;
const ZEROS = new Uint8Array(256 * 1024);

/** `netseal cat STORE:/path...` */
export function catCommand(): Command {
  const command = new Command('cat')
    .description('Write files of a volume to standard output.')
    .argument('<path...>', 'STORE:/path of a file')
    .addOption(
      new Option('--offset <size>', 'begin at this byte of each file, counted from 0').argParser(text =>
        parseSize(text, '--offset'),
      ),
    )
    .addOption(
      new Option('--length <size>', 'write at most so many bytes of each file').argParser(text =>
        parseSize(text, '--length'),
      ),
    );
  return withPathOptions(command, { json: false }).action(cat);
}

function cat(texts: readonly string[], options: CatOptions): Promise<void> {
  const paths = texts.map(text => parseVolumePath(text, options));
  const { offset = 0, length = Number.POSITIVE_INFINITY } = options;
  return withInterrupt(signal =>
    withVolumePaths(paths, { workers: 0, ...options }, signal, async access => {
      const threads = new Threads(access, options.workers);
      try {
        // What follows a gap would be taken for what belongs there: the first failure ends it.
        for (const path of paths) await at(path, copyOut(threads, path, offset, offset + length, signal));
      } finally {
        await threads.close();
      }
    }),
  );
}

/** The volume once more, with threads, when there is enough to do for them. */
class Threads {
  readonly #access: VolumeAccess;
  readonly #workers: number | undefined;
  #pipeline: Pipeline | undefined;
  #volume: Volume | undefined;

  /** @param workers what the user asked for: the volume that is open has them already. */
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
  signal: AbortSignal,
): Promise<void> {
  const reader = await threads.open(path, fromBytes, toBytes);
  for await (const piece of reader.pieces(fromBytes, toBytes, { signal })) {
    if (piece.error !== undefined) throw lost(path, piece, piece.error);
    const { bytes, lengthBytes } = piece;
    if (bytes !== undefined) await writeOut(bytes, signal);
    for (let left = lengthBytes - (bytes?.byteLength ?? 0); left > 0; left -= ZEROS.byteLength) {
      await writeOut(ZEROS.subarray(0, Math.min(left, ZEROS.byteLength)), signal);
    }
  }
}

function lost(path: VolumePath, { offsetBytes, lengthBytes }: Piece, cause: NetsealError): NetsealError {
  const endBytes = offsetBytes + lengthBytes;
  const text = `bytes ${offsetBytes} to ${endBytes - 1} cannot be read: ${cause.message}; what comes after them may be whole: --offset ${endBytes}`;
  return failAt(path, cause.code, text);
}
