/**
 * Remotes: short names for stores, with the options that belong to them. They lie in a file that people can read and
 * edit, `remotes.json` in the configuration folder:
 *
 *     { "photos": { "store": "s3://bucket/photos", "keyFile": "/home/ada/photos.key" } }
 *
 * It holds no secret, only where secrets are found.
 */
import { readFileSync } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { isNetsealError, messageOf, NetsealError, requireArgument, systemCodeOf } from '../../base/errors.ts';
import { makeFolders, syncFolder } from '../../system/folders.ts';
import { environment } from '../lib/given-text.ts';
import type { SecretOptions } from '../lib/secrets.ts';
import { homeFolder } from './options.ts';

/** A store, and the options that commands take for it where none of the kind is given. */
export interface Remote extends SecretOptions {
  /** An absolute path or a URL. */
  readonly store: string;
}

export type Remotes = ReadonlyMap<string, Remote>;

const FILE_NAME = 'remotes.json';
/** No letter alone: on Windows that is a drive. */
const NAME = /^[a-z0-9][a-z0-9_-]{1,63}$/i;
const FIELDS: ReadonlySet<string> = new Set(['store', 'keyFile', 'passphraseFile', 'passphraseCommand']);

/** Returns the folder of what people set for netseal. EINVAL when there is none. */
export function configurationFolder(): string {
  const given = environment('NETSEAL_CONFIG');
  if (given !== undefined && given !== '') return given;
  const xdg = environment('XDG_CONFIG_HOME');
  // The XDG specification says to ignore relative paths.
  if (xdg !== undefined && isAbsolute(xdg)) return join(xdg, 'netseal');
  return join(homeFolder('keep remotes in: name a folder with NETSEAL_CONFIG'), '.config', 'netseal');
}

/** Throws EINVAL for what cannot be the name of a remote. */
export function checkRemoteName(name: string): void {
  requireArgument(
    NAME.test(name),
    `not a name for a remote: ${JSON.stringify(name)}; use 2 to 64 letters, digits, "-" and "_"`,
  );
}

/** Reads all remotes. None when there is no file. EFORMAT when it is damaged, EDENIED, EINVAL without a home folder. */
export function readRemotes(): Remotes {
  const path = join(configurationFolder(), FILE_NAME);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT' || systemCodeOf(error) === 'ENOTDIR') return new Map();
    const isDenied = systemCodeOf(error) === 'EACCES' || systemCodeOf(error) === 'EPERM';
    throw new NetsealError(
      isDenied ? 'EDENIED' : 'EIO',
      `cannot read the remotes in ${path}: ${messageOf(error)}`,
      { cause: error },
    );
  }
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed !== 'object' || parsed === null) throw new TypeError('it is no object');
    return new Map(Object.entries(parsed).map(([name, value]) => [name, toRemote(name, value)]));
  } catch (cause) {
    const message = `${path} is damaged: ${messageOf(cause)}; mend it, or remove it and add the remotes anew`;
    throw new NetsealError('EFORMAT', message, { cause });
  }
}

function toRemote(name: string, value: unknown): Remote {
  if (!NAME.test(name)) throw new TypeError(`${JSON.stringify(name)} is no name for a remote`);
  const store = typeof value === 'object' && value !== null ? Reflect.get(value, 'store') : undefined;
  if (typeof store !== 'string' || store === '') throw new TypeError(`${name} has no "store"`);
  for (const [field, each] of Object.entries(value ?? {})) {
    if (!FIELDS.has(field)) throw new TypeError(`${name} has the unknown field ${JSON.stringify(field)}`);
    if (typeof each !== 'string') throw new TypeError(`"${field}" of ${name} is no text`);
  }
  return value as Remote;
}

/**
 * Returns the remote of this name; undefined for text that is none. Whoever has no home folder, or may not read it, has
 * no remotes: `sudo -u` keeps the HOME of another.
 */
export function findRemote(storeText: string): Remote | undefined {
  if (!NAME.test(storeText)) return undefined;
  try {
    return readRemotes().get(storeText);
  } catch (error) {
    const isNobodys = isNetsealError(error) && (error.code === 'EDENIED' || error.code === 'EINVAL');
    if (isNobodys) return undefined;
    throw error;
  }
}

/** Replaces the file. A crash leaves the old one or the new one. */
export async function writeRemotes(remotes: Remotes): Promise<void> {
  const folder = configurationFolder();
  await makeFolders(folder, 0o700);
  const path = join(folder, FILE_NAME);
  const file = await open(`${path}.new`, 'w', 0o600);
  try {
    await file.writeFile(`${JSON.stringify(Object.fromEntries(remotes), null, 2)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.new`, path);
  await syncFolder(folder);
}

/** Returns the options of a command, with those of the remote where the command names no secret. */
export function withRemote<Options extends SecretOptions>(storeText: string, options: Options): Options {
  const { keyFile, passphraseFile, passphraseCommand } = options;
  const isNamed = [keyFile, passphraseFile, passphraseCommand].some(value => value !== undefined);
  const remote = isNamed ? undefined : findRemote(storeText);
  if (remote === undefined) return options;
  const { store: _, ...secrets } = remote;
  return { ...options, ...secrets };
}
