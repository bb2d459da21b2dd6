/**
 * What `netseal seal` and `netseal open` share: their options, and moving one file or pipe through the
 * pipeline.
 */
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { Command } from 'commander';
import { NetsealError } from '../../base/errors.ts';
import type { VolumeHeader } from '../../keys/volume-header.ts';
import type { KeyHandle } from '../../pipeline/key-table.ts';
import { openPipeline, type Pipeline } from '../../pipeline/pipeline.ts';
import { withPath } from '../../system/errors.ts';
import { claimInput, claimStandardInput } from '../lib/inputs.ts';
import { untilAborted, withInterrupt } from '../lib/interrupt.ts';
import { type Output, openOutput } from '../lib/output.ts';
import { claimSecretFiles, type SecretOptions, withSecretOptions } from '../lib/secrets.ts';

export interface StreamOptions extends SecretOptions {
  readonly output?: string;
  readonly force?: boolean;
}

/** What a command makes its stream of. */
export interface StreamParts {
  readonly source: AsyncIterable<Uint8Array>;
  readonly output: Output;
  readonly pipeline: Pipeline;
  readonly signal: AbortSignal;
}

const READ_BYTES = 1024 * 1024;
/** The name of the input that is no secret, for messages. */
const DATA = 'the data';

/** Makes a command with the argument and the options of {@link StreamOptions}. */
export function streamCommand(name: string, description: string): Command {
  const command = new Command(name)
    .description(description)
    .argument('[file]', 'file to read; standard input when left out or "-"', '-')
    .option('-o, --output <file>', 'file to write; standard output when left out or "-"')
    .option('-f, --force', 'replace an existing output file');
  return withSecretOptions(command);
}

/**
 * Opens source, output and pipeline, writes the bytes of the stream that `start` returns to the output, and
 * closes everything whatever happens. The output file appears only if all went well.
 *
 * @param path the file to read, or `-` for standard input.
 */
export function moveStream(
  path: string,
  options: StreamOptions,
  start: (parts: StreamParts) => Promise<AsyncIterable<Uint8Array>>,
): Promise<void> {
  return withInterrupt(async signal => {
    claimInputs(path, options);
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

/** EINVAL when the data and the secret come from one input; system errors when an input is missing. */
function claimInputs(path: string, options: StreamOptions): void {
  if (path === '-') claimStandardInput(DATA);
  else claimInput(DATA, path);
  claimSecretFiles(options);
}

async function copy(
  source: AsyncIterable<Uint8Array>,
  output: Output,
  signal: AbortSignal,
  start: (parts: StreamParts) => Promise<AsyncIterable<Uint8Array>>,
): Promise<void> {
  const pipeline = await openPipeline();
  try {
    for await (const chunk of await start({ source, output, pipeline, signal })) {
      signal.throwIfAborted();
      await output.write(chunk);
    }
  } finally {
    await pipeline.close();
  }
}

/** Gives the header's keys to the pipeline, which keeps copies, and destroys the header's own. */
export function addKeys(pipeline: Pipeline, header: VolumeHeader): KeyHandle {
  const keys = pipeline.addKeyring(header.keyring);
  header.keyring.destroy();
  return keys;
}

/** Yields the standard input; its errors name it. */
async function* standardInput(): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of process.stdin) yield chunk as Uint8Array;
  } catch (error) {
    throw withPath('standard input', error);
  }
}

interface Source {
  readonly bytes: AsyncIterable<Uint8Array>;
  close(): void;
}

/**
 * Opens the source. A missing file fails here, before a passphrase is asked for. EIO for a folder; system
 * errors.
 */
async function openSource(path: string, signal: AbortSignal): Promise<Source> {
  if (path === '-') {
    if (process.stdin.isTTY) process.stderr.write('netseal: reading what you type; end with Ctrl-D\n');
    return { bytes: standardInput(), close: () => process.stdin.destroy() };
  }
  const stream = createReadStream(path, { highWaterMark: READ_BYTES });
  await untilAborted(signal, once(stream, 'open'));
  if ((await stat(path)).isDirectory()) {
    throw new NetsealError('EIO', `${path} is a folder: name a file, or pipe it in with tar`);
  }
  return { bytes: stream, close: () => stream.destroy() };
}
