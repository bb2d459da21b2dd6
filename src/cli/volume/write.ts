/** `netseal write`: writes standard input into a file of a volume, at any place of it. */
import { constants } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { Command } from 'commander';
import { isNetsealError } from '../../base/errors.ts';
import type { Volume } from '../../volume/volume.ts';
import { claimStandardInput } from '../lib/inputs.ts';
import { jsonDocument } from '../lib/json.ts';
import { sizeOption } from '../lib/value-options.ts';
import { eachPath } from './each-path.ts';
import { at } from './path-errors.ts';
import { type PathOptions, pathBytes, type VolumePath, withPathOptions } from './paths.ts';

interface WriteOptions extends PathOptions {
  readonly offset?: number;
  readonly truncate?: boolean;
}

const CHUNK_BYTES = 1024 * 1024;

/** `netseal write STORE:/path` */
export function command(): Command {
  const write = new Command('write')
    .description('Write standard input into a file of a volume.')
    .argument('<path>', 'STORE:/path of a file; it is made if it is not there')
    .addOption(sizeOption('--offset <size>', 'begin at this byte of the file, counted from 0'))
    .option('--truncate', 'the file ends where the input ends');
  return withPathOptions(write).action(writeInput);
}

function writeInput(text: string, options: WriteOptions): Promise<void> {
  claimStandardInput('the data');
  let writtenBytes = 0;
  return eachPath([text], options, ({ volume, signal, report }) => ({
    each: async path => {
      writtenBytes = await at(path, writeTo(volume, path, options, signal));
    },
    end: () => {
      if (options.json === true) report(jsonDocument({ written: writtenBytes }));
    },
  }));
}

/** Returns how many bytes were written, and committed. */
async function writeTo(
  volume: Volume,
  path: VolumePath,
  { offset = 0, truncate = false }: WriteOptions,
  signal: AbortSignal,
): Promise<number> {
  const flags = constants.O_WRONLY | constants.O_CREAT;
  try {
    const file = await volume.open(pathBytes(path), flags, 0o666 & ~process.umask(), { signal });
    const stream = file.createWriteStream({ start: offset, autoClose: false, highWaterMark: CHUNK_BYTES });
    try {
      await pipeline(process.stdin, stream, { signal });
      if (truncate) await file.truncate(offset + stream.bytesWritten, { signal });
      await file.close({ signal });
      return stream.bytesWritten;
    } catch (error) {
      // Without this, what is not committed yet would be committed later, in the background.
      await file.discard().catch(() => undefined);
      await file.leave();
      throw error;
    }
  } catch (error) {
    // Open files report some errors with Node's codes; the cause is netseal's own error.
    throw error instanceof Error && isNetsealError(error.cause) ? error.cause : error;
  } finally {
    // An input that stays open would keep the process alive after Ctrl-C.
    process.stdin.destroy();
  }
}
