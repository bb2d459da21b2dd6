/**
 * Reads secrets from a key file, a passphrase file, the output of a command, the environment, or a prompt.
 * A secret is never an argument, because other users of the machine can read those.
 */
import { isUtf8 } from 'node:buffer';
import { open } from 'node:fs/promises';
import type { Command } from 'commander';
import { equalBytes, utf8 } from '../../base/bytes.ts';
import { requireArgument } from '../../base/errors.ts';
import type { NewSlot } from '../../keys/new-slot.ts';
import { checkLabel } from '../../keys/private-part.ts';
import {
  KEY_FILE_BYTES_MAX,
  type KeyFileSecret,
  PASSPHRASE_BYTES_MAX,
  type PassphraseSecret,
} from '../../keys/secret.ts';
import { atPath } from '../../system/errors.ts';
import { environment } from './given-text.ts';
import { claimInput } from './inputs.ts';
import { untilAborted } from './interrupt.ts';

export interface SecretOptions {
  readonly keyFile?: string;
  readonly passphraseFile?: string;
  readonly passphraseCommand?: string;
}

/** Adds the options that name the secret's source. */
export function withSecretOptions(command: Command): Command {
  return command
    .option('--key-file <file>', 'use the bytes of this file as the secret (at least 32)')
    .option('--passphrase-file <file>', 'read the passphrase from the first line of this file')
    .option(
      '--passphrase-command <command>',
      'read the passphrase from the first line that a command prints',
    );
}

/**
 * Reads the secret to unlock with. The options come before the environment, and that before a prompt. EINVAL
 * when two sources are named, when the source is empty, too long or the command's data as well, or when no
 * source is named and there is no terminal to ask on. Rejects as soon as the signal aborts.
 */
export async function readSecret(
  options: SecretOptions,
  signal?: AbortSignal,
): Promise<KeyFileSecret | PassphraseSecret> {
  const stored = await readStoredSecret(options, signal);
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
  const stored = await readStoredSecret(options, signal);
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
  const sources = setSources([
    ['--new-key-file', 'key-file', newKeyFile],
    ['--new-passphrase-file', 'passphrase-file', newPassphraseFile],
  ]);
  const stored = await readOneSource(sources, signal);
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

/** Reads the secret from a file that an option names. EINVAL as {@link readSecret}, and system errors. */
export async function readFileSecret(
  option: string,
  type: 'key-file' | 'passphrase-file',
  path: string,
  signal: AbortSignal,
): Promise<KeyFileSecret | PassphraseSecret> {
  return await readSource({ name: option, type, value: path }, signal);
}

/**
 * Checks, before anything is opened, that no secret comes from the same input as the command's data. EINVAL,
 * system errors.
 */
export function claimSecretFiles(options: SecretOptions): void {
  for (const { name, type, value } of sourcesOf(options)) {
    if (value !== '' && type.endsWith('-file')) claimInput(name, value);
  }
}

/** A place that a secret may come from. */
interface Source {
  /** The option or environment variable that names it, for messages. */
  readonly name: string;
  readonly type: 'key-file' | 'passphrase-file' | 'passphrase-command' | 'passphrase';
  /** A path, a command or the passphrase itself. */
  readonly value: string;
}

/** Returns the sources that the options name, else those that the environment names. */
function sourcesOf({ keyFile, passphraseFile, passphraseCommand }: SecretOptions): Source[] {
  const named = setSources([
    ['--key-file', 'key-file', keyFile],
    ['--passphrase-file', 'passphrase-file', passphraseFile],
    ['--passphrase-command', 'passphrase-command', passphraseCommand],
  ]);
  if (named.length > 0) return named;
  return setSources([
    ['NETSEAL_PASSPHRASE', 'passphrase', environment('NETSEAL_PASSPHRASE')],
    ['NETSEAL_KEY_FILE', 'key-file', environment('NETSEAL_KEY_FILE') || undefined],
    ['NETSEAL_PASSPHRASE_FILE', 'passphrase-file', environment('NETSEAL_PASSPHRASE_FILE') || undefined],
    [
      'NETSEAL_PASSPHRASE_COMMAND',
      'passphrase-command',
      environment('NETSEAL_PASSPHRASE_COMMAND') || undefined,
    ],
  ]);
}

function setSources(
  sources: readonly (readonly [name: string, type: Source['type'], value: string | undefined])[],
): Source[] {
  return sources.flatMap(([name, type, value]) => (value === undefined ? [] : [{ name, type, value }]));
}

/** Reads the secret that the options or the environment name. Undefined when they name none. */
async function readStoredSecret(
  options: SecretOptions,
  signal: AbortSignal | undefined,
): Promise<KeyFileSecret | PassphraseSecret | undefined> {
  const sources = sourcesOf(options);
  // Processes that this one starts must not inherit it.
  delete process.env.NETSEAL_PASSPHRASE;
  return await readOneSource(sources, signal);
}

/** Reads the one source. Undefined when there is none; EINVAL when there are several. */
async function readOneSource(
  sources: readonly Source[],
  signal: AbortSignal | undefined,
): Promise<KeyFileSecret | PassphraseSecret | undefined> {
  const [source] = sources;
  if (source === undefined) return undefined;
  const names = sources.map(other => other.name);
  requireArgument(
    names.length === 1,
    `give ${names.join(' or ')}, not ${names.length === 2 ? 'both' : 'all of them'}`,
  );
  return await readSource(source, signal);
}

async function readSource(
  { name, type, value }: Source,
  signal: AbortSignal | undefined,
): Promise<KeyFileSecret | PassphraseSecret> {
  requireArgument(value !== '', type === 'passphrase' ? `${name} is set but empty` : `${name} names nothing`);
  if (type === 'passphrase') return { type, passphrase: value };
  if (type === 'passphrase-command') {
    const { commandOutput } = await import('./secret-command.ts');
    const bytes = await commandOutput(name, value, PASSPHRASE_BYTES_MAX, signal);
    return { type: 'passphrase', passphrase: firstLine(`${name}: the command's output`, bytes) };
  }
  claimInput(name, value);
  const maxBytes = type === 'key-file' ? KEY_FILE_BYTES_MAX : PASSPHRASE_BYTES_MAX;
  const reading = readAtMost(value, maxBytes);
  // A named pipe without a writer would keep the command waiting past Ctrl-C.
  const bytes = await (signal === undefined ? reading : untilAborted(signal, reading));
  return type === 'key-file'
    ? { type, contents: bytes }
    : { type: 'passphrase', passphrase: firstLine(value, bytes) };
}

function firstLine(from: string, bytes: Uint8Array): string {
  requireArgument(isUtf8(bytes), `${from}: not UTF-8; a secret that is not text belongs into a key file`);
  const [line = ''] = Buffer.from(bytes).toString('utf8').split(/\r?\n/);
  requireArgument(line !== '', `${from}: its first line is empty`);
  return line;
}

/** Returns the file's bytes. EINVAL when it is longer than `maxBytes`. */
async function readAtMost(path: string, maxBytes: number): Promise<Uint8Array> {
  const file = await open(path);
  try {
    const buffer = new Uint8Array(maxBytes + 1);
    let filledBytes = 0;
    for (;;) {
      const reading = file.read(buffer, filledBytes, buffer.byteLength - filledBytes, null);
      const { bytesRead } = await atPath(path, reading);
      if (bytesRead === 0) break;
      filledBytes += bytesRead;
    }
    requireArgument(filledBytes <= maxBytes, `${path}: longer than ${maxBytes} bytes`);
    return buffer.subarray(0, filledBytes);
  } finally {
    await file.close();
  }
}

const OTHER_WAYS = '--passphrase-file, --key-file, --passphrase-command or NETSEAL_PASSPHRASE';

async function promptPassphrase(prompt: string, signal: AbortSignal | undefined): Promise<string> {
  const { PassphraseTerminal } = await import('./passphrase-prompt.ts');
  const terminal = PassphraseTerminal.open(OTHER_WAYS);
  try {
    const passphrase = await terminal.ask(prompt, signal);
    requireArgument(passphrase !== '', 'the passphrase is empty');
    return passphrase;
  } finally {
    terminal.close();
  }
}

async function promptNewPassphrase(
  prompt: string,
  signal: AbortSignal | undefined,
  otherWays = OTHER_WAYS,
): Promise<string> {
  const { PassphraseTerminal } = await import('./passphrase-prompt.ts');
  const terminal = PassphraseTerminal.open(otherWays);
  try {
    const passphrase = await terminal.ask(prompt, signal);
    requireArgument(passphrase !== '', 'the passphrase is empty');
    const again = await terminal.ask('The same again: ', signal);
    requireArgument(equalBytes(utf8(passphrase), utf8(again)), 'the two passphrases differ');
    return passphrase;
  } finally {
    terminal.close();
  }
}
