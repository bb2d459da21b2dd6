/** `netseal open`: opens what `netseal seal` wrote. */
import type { Command } from 'commander';
import { concatBytes } from '../../base/bytes.ts';
import { isNetsealError, NetsealError } from '../../base/errors.ts';
import { volumeHeaderLength } from '../../keys/header-format.ts';
import { unlockVolumeHeader } from '../../keys/unlock.ts';
import { openStream } from '../../pipeline/open-stream.ts';
import { readSecret } from '../lib/secrets.ts';
import { addKeys, moveStream, type StreamOptions, streamCommand } from './stream.ts';

/** `netseal open [FILE] [-o OUT]` */
export function command(): Command {
  return streamCommand('open', 'Decrypt and decompress what "netseal seal" wrote.').action(open);
}

function open(path: string, options: StreamOptions): Promise<void> {
  return moveStream(path, options, async ({ source, pipeline, signal }) => {
    const { headerBytes, rest } = await takeHeader(source).catch(error => {
      throw notSealed(path, error);
    });
    const header = await unlockVolumeHeader(headerBytes, await readSecret(options, signal));
    return ReadableStream.from(rest).pipeThrough(openStream({ pipeline, keys: addKeys(pipeline, header) }));
  });
}

/** Returns the error of a file without a volume header, with the file's name. Others stay as they are. */
function notSealed(path: string, error: unknown): unknown {
  if (!isNetsealError(error) || (error.code !== 'EFORMAT' && error.code !== 'ETRUNCATED')) return error;
  const name = path === '-' ? 'standard input' : path;
  const message = `${name}: "netseal seal" did not write this, or its start is damaged: ${error.message}`;
  return new NetsealError(error.code, message, { cause: error, path: name });
}

/**
 * Splits a sealed file into its volume header and the rest. EFORMAT when there is no header, ETRUNCATED when
 * it is cut short.
 */
async function takeHeader(
  source: AsyncIterable<Uint8Array>,
): Promise<{ headerBytes: Uint8Array; rest: AsyncIterable<Uint8Array> }> {
  const chunks = source[Symbol.asyncIterator]();
  let bytes = new Uint8Array(0);
  for (;;) {
    const length = volumeHeaderLength(bytes);
    if (length !== undefined && length <= bytes.byteLength) {
      const first = bytes.subarray(length);
      return { headerBytes: bytes.subarray(0, length), rest: chain(first, chunks) };
    }
    const next = await chunks.next();
    if (next.done === true)
      throw new NetsealError('ETRUNCATED', 'the input ends before its volume header does');
    bytes = concatBytes(bytes, next.value);
  }
}

async function* chain(first: Uint8Array, rest: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  if (first.byteLength > 0) yield first;
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
}
