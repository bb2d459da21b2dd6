/** `netseal cat`: files, or parts of them, to standard output. Only the units that are asked for are fetched. */
import { Command, Option } from 'commander';
import type { NetsealError } from '../base/errors.ts';
import type { Piece } from '../volume/file-reader.ts';
import type { Volume } from '../volume/volume.ts';
import { withInterrupt } from './interrupt.ts';
import { parseSize } from './sizes.ts';
import {
  at,
  failAt,
  type PathOptions,
  parseVolumePath,
  pathBytes,
  type VolumePath,
  withPathOptions,
  withVolumePaths,
} from './volume-paths.ts';
import { writeOut } from './write-out.ts';

interface CatOptions extends PathOptions {
  readonly offset?: number;
  readonly length?: number;
}

/** Below this, starting threads takes longer than working without them. */
const THREADS_FROM_BYTES: number = 8 * 1024 * 1024;
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
  const threads = length * paths.length < THREADS_FROM_BYTES ? { workers: 0 } : {};
  return withInterrupt(signal =>
    withVolumePaths(paths, { ...threads, ...options }, signal, async ({ volume }) => {
      // What follows a gap would be taken for what belongs there: the first failure ends it.
      for (const path of paths) await at(path, copyOut(volume, path, offset, offset + length, signal));
    }),
  );
}

async function copyOut(
  volume: Volume,
  path: VolumePath,
  fromBytes: number,
  toBytes: number,
  signal: AbortSignal,
): Promise<void> {
  const reader = await volume.openFile(pathBytes(path));
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
