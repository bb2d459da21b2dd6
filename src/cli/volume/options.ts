/** The options that all commands for volumes share. */
import { homedir } from 'node:os';
import { isAbsolute } from 'node:path';
import type { Command } from 'commander';
import { isSystemError, NetsealError } from '../../base/errors.ts';
import { WORKERS_MAX } from '../../pipeline/settings.ts';
import { environment } from '../lib/given-text.ts';
import { type SecretOptions, withSecretOptions } from '../lib/secrets.ts';
import { countOption } from '../lib/value-options.ts';

export interface StoreOptions extends SecretOptions {
  readonly state?: string;
  readonly json?: boolean;
}

export interface VolumeOptions extends StoreOptions {
  /** Number of worker threads. Default: as many as the machine runs at once. */
  readonly workers?: number;
  /** Folder of a local cache to put in front of the store. */
  readonly cache?: string;
}

export interface JsonSetting {
  /** False for a command that has nothing to print as JSON. Default: true. */
  readonly json?: boolean;
}

/** Adds the options of {@link StoreOptions}. */
export function withStoreOptions(command: Command, { json = true }: JsonSetting = {}): Command {
  withSecretOptions(command).option(
    '--state <folder>',
    'folder for what this client remembers of stores (default: NETSEAL_STATE, $XDG_STATE_HOME/netseal or ~/.local/state/netseal)',
  );
  return json ? command.option('--json', 'print the result as JSON') : command;
}

/** Adds the options of {@link VolumeOptions}. */
export function withVolumeOptions(command: Command, setting: JsonSetting = {}): Command {
  return withStoreOptions(command, setting).addOption(
    countOption(
      '--workers <count>',
      'threads that seal and open (default: one per processor)',
      0,
      WORKERS_MAX,
    ),
  );
}

/** Adds the option of a local cache, for a command that reads. */
export function withCacheOption(command: Command): Command {
  return command.option(
    '--cache <dir>',
    'look into this cache first, and keep there what is read (made by "netseal cache init" with the same secret)',
  );
}

/** Returns the folder with what this client remembers of all stores. */
export function stateFolder({ state }: StoreOptions): string {
  if (state !== undefined) return state;
  const fromEnvironment = environment('NETSEAL_STATE');
  if (fromEnvironment !== undefined && fromEnvironment !== '') return fromEnvironment;
  const xdg = environment('XDG_STATE_HOME');
  // The XDG specification says to ignore relative paths.
  const base =
    xdg !== undefined && isAbsolute(xdg)
      ? xdg
      : `${homeFolder('remember stores in: name a folder with --state or NETSEAL_STATE')}/.local/state`;
  return `${base}/netseal`;
}

/** Returns the user's home folder. EINVAL when there is none; `purpose` says what it is for, and what else will do. */
export function homeFolder(purpose: string): string {
  try {
    const home = environment('HOME') ?? homedir();
    if (home !== '') return home;
  } catch (error) {
    if (!isSystemError(error)) throw error;
  }
  throw new NetsealError('EINVAL', `this user has no home folder to ${purpose}`);
}
