/**
 * Where the command line's secrets come from: a key file, a passphrase file, `NETSEAL_PASSPHRASE`, or a prompt. Never the
 * arguments: other users of the machine can read those.
 */
import { isUtf8 } from 'node:buffer';
import { openSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { ReadStream } from 'node:tty';
import type { Command } from 'commander';
import { read } from 'read';
import { equalBytes, utf8 } from '../../base/bytes.ts';
import { NetsealError, requireArgument } from '../../base/errors.ts';
import type { NewSlot } from '../../keys/new-slot.ts';
import { checkLabel } from '../../keys/private-part.ts';
import {
  KEY_FILE_BYTES_MAX,
  type KeyFileSecret,
  PASSPHRASE_BYTES_MAX,
  type PassphraseSecret,
} from '../../keys/secret.ts';

export interface SecretOptions {
  readonly keyFile?: string;
  readonly passphraseFile?: string;
}

/** Adds the options that say where the secret is. */
export function withSecretOptions(command: Command): Command {
  return command
    .option('--key-file <file>', 'use the bytes of this file as the secret (at least 32)')
    .option('--passphrase-file <file>', 'read the passphrase from the first line of this file');
}

/** The secret to unlock with. EINVAL when two sources are named, one is empty or too long, or there is no terminal. */
export async function readSecret(
  options: SecretOptions,
  signal?: AbortSignal,
): Promise<KeyFileSecret | PassphraseSecret> {
  const stored = await readStoredSecret(options);
  return stored ?? { type: 'passphrase', passphrase: await promptPassphrase('Passphrase: ', signal) };
}

/**
 * As {@link readSecret}, for the first slot: a passphrase is asked for twice, as a typing error would lock the data away.
 *
 * @param label what people will know the slot by; its type by default.
 */
export async function readNewSlot(
  options: SecretOptions,
  signal?: AbortSignal,
  label?: string,
): Promise<NewSlot> {
  if (label !== undefined) checkLabel(label);
  const stored = await readStoredSecret(options);
  const secret = stored ?? {
    type: 'passphrase',
    passphrase: await promptNewPassphrase('Passphrase: ', signal),
  };
  return { label: label ?? secret.type, secret };
}

/** Where a further slot's secret is. */
export interface AddedSlotOptions {
  readonly newKeyFile?: string;
  readonly newPassphraseFile?: string;
  readonly label?: string;
}

/** Adds the options that say where a further slot's secret is. */
export function withAddedSlotOptions(command: Command): Command {
  return command
    .option('--new-key-file <file>', "use the bytes of this file as the new slot's secret (at least 32)")
    .option('--new-passphrase-file <file>', 'read the new passphrase from the first line of this file')
    .option('--label <text>', "what to know the new slot by (default: its secret's type)");
}

/** The secret of a further slot; a prompt when no file is named, as the environment's opens the volume. EINVAL. */
export async function readAddedSlot(options: AddedSlotOptions, signal?: AbortSignal): Promise<NewSlot> {
  const { newKeyFile, newPassphraseFile, label } = options;
  if (label !== undefined) checkLabel(label);
  const stored = await readSecretFile(newKeyFile, newPassphraseFile, 'new-');
  const secret = stored ?? {
    type: 'passphrase',
    passphrase: await promptNewPassphrase(
      'New passphrase: ',
      signal,
      '--new-passphrase-file or --new-key-file',
    ),
  };
  return { label: label ?? secret.type, secret };
}

/** The secret that the options or the environment name, if they name one. */
async function readStoredSecret({
  keyFile,
  passphraseFile,
}: SecretOptions): Promise<KeyFileSecret | PassphraseSecret | undefined> {
  const fromFile = await readSecretFile(keyFile, passphraseFile, '');
  const fromEnvironment = process.env.NETSEAL_PASSPHRASE;
  if (fromFile !== undefined || fromEnvironment === undefined) return fromFile;
  // Not for the processes that we start.
  delete process.env.NETSEAL_PASSPHRASE;
  requireArgument(fromEnvironment !== '', 'NETSEAL_PASSPHRASE is set but empty');
  return { type: 'passphrase', passphrase: fromEnvironment };
}

/** @param prefix of the options' names. */
async function readSecretFile(
  keyFile: string | undefined,
  passphraseFile: string | undefined,
  prefix: string,
): Promise<KeyFileSecret | PassphraseSecret | undefined> {
  requireArgument(
    keyFile === undefined || passphraseFile === undefined,
    `give either --${prefix}key-file or --${prefix}passphrase-file, not both`,
  );
  if (keyFile !== undefined) {
    return { type: 'key-file', contents: await readAtMost(keyFile, KEY_FILE_BYTES_MAX) };
  }
  if (passphraseFile === undefined) return undefined;
  const bytes = await readAtMost(passphraseFile, PASSPHRASE_BYTES_MAX);
  requireArgument(
    isUtf8(bytes),
    `${passphraseFile}: not UTF-8; for a secret of any bytes use --${prefix}key-file`,
  );
  const [line = ''] = Buffer.from(bytes).toString('utf8').split(/\r?\n/);
  requireArgument(line !== '', `${passphraseFile}: its first line is empty`);
  return { type: 'passphrase', passphrase: line };
}

/** EINVAL when the file is longer than `maxBytes`. */
async function readAtMost(path: string, maxBytes: number): Promise<Uint8Array> {
  const file = await open(path);
  try {
    const buffer = new Uint8Array(maxBytes + 1);
    let filledBytes = 0;
    for (;;) {
      const { bytesRead } = await file.read(buffer, filledBytes, buffer.byteLength - filledBytes, null);
      if (bytesRead === 0) break;
      filledBytes += bytesRead;
    }
    requireArgument(filledBytes <= maxBytes, `${path}: longer than ${maxBytes} bytes`);
    return buffer.subarray(0, filledBytes);
  } finally {
    await file.close();
  }
}

async function promptPassphrase(
  prompt: string,
  signal: AbortSignal | undefined,
  otherWays = '--passphrase-file, --key-file or NETSEAL_PASSPHRASE',
): Promise<string> {
  const passphrase = await ask(prompt, signal, otherWays);
  requireArgument(passphrase !== '', 'the passphrase is empty');
  return passphrase;
}

async function promptNewPassphrase(
  prompt: string,
  signal: AbortSignal | undefined,
  otherWays?: string,
): Promise<string> {
  const passphrase = await promptPassphrase(prompt, signal, otherWays);
  const again = await ask('The same again: ', signal);
  requireArgument(equalBytes(utf8(passphrase), utf8(again)), 'the two passphrases differ');
  return passphrase;
}

/** The terminal itself, as standard input and output may carry data. */
function openTerminal(otherWays: string): ReadStream {
  try {
    return new ReadStream(openSync('/dev/tty', 'r'));
  } catch (cause) {
    throw new NetsealError('EINVAL', `no passphrase: there is no terminal to ask on; use ${otherWays}`, {
      cause,
    });
  }
}

/** Asks without echo. Ctrl-C, Ctrl-D, a hang-up or the signal counts as an interruption. */
async function ask(prompt: string, signal: AbortSignal | undefined, otherWays = ''): Promise<string> {
  const terminal = openTerminal(otherWays);
  const interrupted = new DOMException('interrupted at the passphrase prompt', 'AbortError');
  const { promise: stopped, reject: stop } = Promise.withResolvers<never>();
  const onStop = (): void => stop(interrupted);
  // read() says nothing when Ctrl-D ends the input, which it can be told by.
  terminal.on('keypress', () => setImmediate(() => terminal.isPaused() && onStop()));
  terminal.on('end', onStop);
  terminal.on('error', onStop);
  signal?.addEventListener('abort', onStop);
  if (signal?.aborted === true) onStop();
  try {
    const answer = read({ prompt, silent: true, input: terminal, output: process.stderr, terminal: true });
    return await Promise.race([answer, stopped]);
  } catch {
    throw interrupted;
  } finally {
    signal?.removeEventListener('abort', onStop);
    terminal.setRawMode(false);
    terminal.destroy();
    process.stderr.write('\n');
  }
}
