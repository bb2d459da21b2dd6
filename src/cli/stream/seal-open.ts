/**
 * `netseal seal` and `netseal open`: one file or pipe through the pipeline. A sealed file is a volume header, so that it
 * carries its own key slots, followed by a sealed stream.
 */
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { Command } from 'commander';
import { concatBytes } from '../../base/bytes.ts';
import { NetsealError, requireArgument } from '../../base/errors.ts';
import { volumeHeaderLength } from '../../keys/header-format.ts';
import { createVolumeHeader, unlockVolumeHeader } from '../../keys/unlock.ts';
import type { VolumeHeader } from '../../keys/volume-header.ts';
import type { KeyHandle } from '../../pipeline/key-table.ts';
import { openStream } from '../../pipeline/open-stream.ts';
import { openPipeline, type Pipeline } from '../../pipeline/pipeline.ts';
import { sealStream } from '../../pipeline/seal-stream.ts';
import { untilAborted, withInterrupt } from '../lib/interrupt.ts';
import { isStandardOutput, type Output, openOutput } from '../lib/output.ts';
import { readNewSlot, readSecret, type SecretOptions, withSecretOptions } from '../lib/secrets.ts';
import { readUnitOptions, type UnitOptions, withUnitOptions } from '../lib/unit-options.ts';

interface StreamOptions extends SecretOptions {
  readonly output?: string;
  readonly force?: boolean;
}

interface SealOptions extends StreamOptions, UnitOptions {}

const READ_BYTES = 1024 * 1024;

function streamCommand(name: string, description: string): Command {
  const command = new Command(name)
    .description(description)
    .argument('[file]', 'what to read; standard input when it is left out or "-"', '-')
    .option('-o, --output <file>', 'where to write; standard output when it is left out or "-"')
    .option('-f, --force', 'replace the output file if it is there');
  return withSecretOptions(command);
}

/** `netseal seal [FILE] [-o OUT]` */
export function sealCommand(): Command {
  return withUnitOptions(streamCommand('seal', 'Compress and encrypt a file or pipe.')).action(seal);
}

/** `netseal open [FILE] [-o OUT]` */
export function openCommand(): Command {
  return streamCommand('open', 'Decrypt and decompress what "netseal seal" wrote.').action(unseal);
}

function seal(path: string, options: SealOptions): Promise<void> {
  const settings = readUnitOptions(options);
  requireArgument(
    !isStandardOutput(options.output) || !process.stdout.isTTY,
    'sealed bytes would garble the terminal: use -o FILE, or a pipe',
  );
  return transfer(path, options, async (source, output, pipeline, signal) => {
    const header = await createVolumeHeader({ slots: [await readNewSlot(options, signal)] });
    const keys = addKeys(pipeline, header);
    await output.write(header.bytes);
    const stream = sealStream({ pipeline, keys, ...settings });
    return ReadableStream.from(source).pipeThrough(stream);
  });
}

function unseal(path: string, options: StreamOptions): Promise<void> {
  return transfer(path, options, async (source, _output, pipeline, signal) => {
    const { headerBytes, rest } = await takeHeader(source);
    const header = await unlockVolumeHeader(headerBytes, await readSecret(options, signal));
    return ReadableStream.from(rest).pipeThrough(openStream({ pipeline, keys: addKeys(pipeline, header) }));
  });
}

/** Opens source, output and pipeline, moves what `start` makes of them, and closes everything whatever happens. */
function transfer(
  path: string,
  options: StreamOptions,
  start: (
    source: AsyncIterable<Uint8Array>,
    output: Output,
    pipeline: Pipeline,
    signal: AbortSignal,
  ) => Promise<AsyncIterable<Uint8Array>>,
): Promise<void> {
  return withInterrupt(async signal => {
    const source = await openSource(path, signal);
    try {
      const output = await openOutput(options);
      try {
        await untilAborted(signal, copy(source.bytes, output, signal, start));
        await output.commit();
      } finally {
        await output.close();
      }
    } finally {
      source.close();
    }
  });
}

async function copy(
  source: AsyncIterable<Uint8Array>,
  output: Output,
  signal: AbortSignal,
  start: Parameters<typeof transfer>[2],
): Promise<void> {
  const pipeline = await openPipeline();
  try {
    for await (const chunk of await start(source, output, pipeline, signal)) {
      signal.throwIfAborted();
      await output.write(chunk);
    }
  } finally {
    await pipeline.close();
  }
}

/** The pipeline keeps copies of the keys; the header's own are not needed beyond that. */
function addKeys(pipeline: Pipeline, header: VolumeHeader): KeyHandle {
  const keys = pipeline.addKeyring(header.keyring);
  header.keyring.destroy();
  return keys;
}

interface Source {
  readonly bytes: AsyncIterable<Uint8Array>;
  close(): void;
}

/** Opens at once, so that a missing file is told before a passphrase is asked for. */
async function openSource(path: string, signal: AbortSignal): Promise<Source> {
  if (path === '-') {
    if (process.stdin.isTTY) process.stderr.write('netseal: reading what you type; end it with Ctrl-D\n');
    return { bytes: process.stdin, close: () => process.stdin.destroy() };
  }
  const stream = createReadStream(path, { highWaterMark: READ_BYTES });
  await untilAborted(signal, once(stream, 'open'));
  if ((await stat(path)).isDirectory()) {
    throw new NetsealError('EIO', `${path} is a folder: name a file, or pipe it in with tar`);
  }
  return { bytes: stream, close: () => stream.destroy() };
}

/** Splits a sealed file into the volume header and the rest. EFORMAT when it does not start with one. */
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
