/**
 * The sources of secrets: a key file, a passphrase file, `NETSEAL_PASSPHRASE`, or a prompt. Never the
 * arguments, which other users of the machine can read.
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

/** Adds the options that name the secret's source. */
export function withSecretOptions(command: Command): Command {
  return command
    .option('--key-file <file>', 'use the bytes of this file as the secret (at least 32)')
    .option('--passphrase-file <file>', 'read the passphrase from the first line of this file');
}

/**
 * Reads the secret to unlock with. EINVAL when two sources are named, when the source is empty or too long,
 * or when no source is named and there is no terminal to ask on.
 */
export async function readSecret(
  options: SecretOptions,
  signal?: AbortSignal,
): Promise<KeyFileSecret | PassphraseSecret> {
  const stored = await readStoredSecret(options);
  return stored ?? { type: 'passphrase', passphrase: await promptPassphrase('Passphrase: ', signal) };
}

/**
 * Reads the secret for a first slot, as {@link readSecret} does. A passphrase is asked for twice: a typing
 * error would lock the data away.
 *
 * @param label the slot's name for people. Default: its type.
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

/** The source of a further slot's secret. */
export interface AddedSlotOptions {
  readonly newKeyFile?: string;
  readonly newPassphraseFile?: string;
  readonly label?: string;
}

/** Adds the options of {@link AddedSlotOptions}. */
export function withAddedSlotOptions(command: Command): Command {
  return command
    .option('--new-key-file <file>', "use the bytes of this file as the new slot's secret (at least 32)")
    .option('--new-passphrase-file <file>', 'read the new passphrase from the first line of this file')
    .option('--label <text>', "name for the new slot (default: its secret's type)");
}

/**
 * Reads the secret of a further slot from the file that is named, else from a prompt: the passphrase in the
 * environment is the one that opens the volume. EINVAL as {@link readSecret}.
 */
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

/** Reads the secret that the options or the environment name. Undefined when they name none. */
async function readStoredSecret({
  keyFile,
  passphraseFile,
}: SecretOptions): Promise<KeyFileSecret | PassphraseSecret | undefined> {
  const fromFile = await readSecretFile(keyFile, passphraseFile, '');
  const fromEnvironment = process.env.NETSEAL_PASSPHRASE;
  if (fromFile !== undefined || fromEnvironment === undefined) return fromFile;
  // Processes that we start must not inherit it.
  delete process.env.NETSEAL_PASSPHRASE;
  requireArgument(fromEnvironment !== '', 'NETSEAL_PASSPHRASE is set but empty');
  return { type: 'passphrase', passphrase: fromEnvironment };
}

/** @param prefix the beginning of the options' names, for messages: `` or `new-`. */
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
    `${passphraseFile}: not UTF-8; for a secret that is not text use --${prefix}key-file`,
  );
  const [line = ''] = Buffer.from(bytes).toString('utf8').split(/\r?\n/);
  requireArgument(line !== '', `${passphraseFile}: its first line is empty`);
  return { type: 'passphrase', passphrase: line };
}

/** Returns the file's bytes. EINVAL when it is longer than `maxBytes`. */
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

/** Opens the terminal itself: standard input and output may carry data. */
function openTerminal(otherWays: string): ReadStream {
  try {
    return new ReadStream(openSync('/dev/tty', 'r'));
  } catch (cause) {
    throw new NetsealError('EINVAL', `no passphrase: there is no terminal to ask on; use ${otherWays}`, {
      cause,
    });
  }
}

/** Asks without echo. Rejects with an AbortError after Ctrl-C, Ctrl-D, a hang-up or the signal. */
async function ask(prompt: string, signal: AbortSignal | undefined, otherWays = ''): Promise<string> {
  const terminal = openTerminal(otherWays);
  const interrupted = new DOMException('interrupted at the passphrase prompt', 'AbortError');
  const { promise: stopped, reject: stop } = Promise.withResolvers<never>();
  const onStop = (): void => stop(interrupted);
  // read() does not settle when Ctrl-D ends the input. A paused terminal shows that this has happened.
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
