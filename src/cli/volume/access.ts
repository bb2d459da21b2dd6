/**
 * What all commands for volumes share: their options, and opening and closing what lies behind them. Modules are loaded when
 * they are needed: threads start while the rest is loaded.
 */
import { homedir } from 'node:os';
import { isAbsolute } from 'node:path';
import { type Command, Option } from 'commander';
import type { NetsealError } from '../../base/errors.ts';
import type { Secret } from '../../keys/secret.ts';
import type { VolumeHeader } from '../../keys/volume-header.ts';
import type { Pipeline } from '../../pipeline/pipeline.ts';
import { WORKERS_MAX } from '../../pipeline/settings.ts';
import type { ObjectStore } from '../../server/store.ts';
import type { ClientState } from '../../volume/state/client-state.ts';
import type { Volume } from '../../volume/volume.ts';
import { printable } from '../lib/printable.ts';
import { readSecret, type SecretOptions, withSecretOptions } from '../lib/secrets.ts';
import { parseCount } from '../lib/sizes.ts';
import { canonicalStoreName, type Location, openStoreAt } from './location.ts';

export interface StoreOptions extends SecretOptions {
  readonly state?: string;
  readonly json?: boolean;
}

export interface VolumeOptions extends StoreOptions {
  /** Threads; undefined for as many as the machine runs at once. */
  readonly workers?: number;
}

/** A store with what this client remembers of it. */
export interface StoreAccess {
  readonly store: ObjectStore;
  readonly state: ClientState;
  /** Reads the secret that the options name, or asks for it. Call it once. */
  readonly secrets: () => Promise<Secret>;
}

export interface UnlockedHeader {
  readonly store: ObjectStore;
  /** Its keyring is destroyed afterwards. */
  readonly header: VolumeHeader;
  readonly state: ClientState;
}

export interface VolumeAccess extends UnlockedHeader {
  readonly volume: Volume;
  readonly pipeline: Pipeline;
}

/** Adds the options of {@link StoreOptions}. */
export function withStoreOptions(
  command: Command,
  { json = true }: { readonly json?: boolean } = {},
): Command {
  withSecretOptions(command).option(
    '--state <folder>',
    'where to remember what was seen of the store (default: NETSEAL_STATE, $XDG_STATE_HOME/netseal or ~/.local/state/netseal)',
  );
  return json ? command.option('--json', 'print the result as JSON') : command;
}

/**
 * Adds the options of {@link VolumeOptions}.
 *
 * @param settings.json false for a command that has nothing to print as JSON.
 */
export function withVolumeOptions(command: Command, settings: { readonly json?: boolean } = {}): Command {
  return withStoreOptions(command, settings).addOption(
    new Option('--workers <count>', 'threads that seal and open (default: one a processor)').argParser(text =>
      parseCount(text, '--workers', 0, WORKERS_MAX),
    ),
  );
}

/** Opens the store and its state for `work`; afterwards saves and closes them, whatever happens. */
export async function withStore<Result>(
  { storeText }: Location,
  options: StoreOptions & { readonly create?: boolean },
  signal: AbortSignal,
  work: (access: StoreAccess) => Promise<Result>,
): Promise<Result> {
  const store = await openStoreAt(storeText, { create: options.create ?? false });
  try {
    const { openStateFolder } = await import('../lib/modules-store.ts');
    const state = await openStateFolder(stateFolder(options), await canonicalStoreName(storeText));
    try {
      return await work({ store, state, secrets: () => readSecret(options, signal) });
    } finally {
      await state.close();
    }
  } finally {
    await store.close();
  }
}

/** Opens the store, unlocks its header and holds it against what was seen before; closes everything afterwards. */
export function withUnlockedHeader<Result>(
  location: Location,
  options: StoreOptions,
  signal: AbortSignal,
  work: (unlocked: UnlockedHeader) => Promise<Result>,
): Promise<Result> {
  return withStore(location, options, signal, async ({ store, state, secrets }) => {
    const { unlockHeaderObject } = await import('../lib/modules-store.ts');
    const header = await unlockHeaderObject(store, secrets, state, { signal });
    try {
      signal.throwIfAborted();
      warnOfDamage(state);
      return await work({ store, header, state });
    } finally {
      header.keyring.destroy();
    }
  });
}

/**
 * Opens a volume for `work`, and afterwards syncs and closes it, its pipeline and its store in this order, whatever happens.
 * What fails while closing is reported unless `work` failed before. When the signal aborts, it is for `work` to end: nothing
 * is closed under it.
 */
export async function withVolume<Result>(
  location: Location,
  options: VolumeOptions,
  signal: AbortSignal,
  work: (access: VolumeAccess) => Promise<Result>,
): Promise<Result> {
  const { workers } = options;
  // The threads start while the header is read and unlocked.
  const starting = startPipeline(workers);
  starting.catch(() => undefined);
  const loading = import('../lib/modules-volume.ts');
  loading.catch(() => undefined);
  return await closing(
    withUnlockedHeader(location, options, signal, async unlocked => {
      const pipeline = await starting;
      const { store, header, state } = unlocked;
      const { Volume } = await loading;
      const volume = await Volume.open({ store, pipeline, header, state, onProblem: warnOfHeads });
      return await closing(work({ ...unlocked, volume, pipeline }), () => volume.close());
    }),
    async () => {
      const pipeline = await starting.catch(() => undefined);
      await pipeline?.close();
    },
  );
}

async function startPipeline(workers: number | undefined): Promise<Pipeline> {
  const { openPipeline } = await import('../lib/modules-pipeline.ts');
  return await openPipeline(workers === undefined ? {} : { workers });
}

/** `work`, then `close`; the first of the two that fails is what it fails with. */
async function closing<Result>(work: Promise<Result>, close: () => Promise<void>): Promise<Result> {
  const [outcome] = await Promise.allSettled([work]);
  const [closed] = await Promise.allSettled([close()]);
  if (outcome.status === 'rejected') throw outcome.reason;
  if (closed.status === 'rejected') throw closed.reason;
  return outcome.value;
}

/** Clients could not compare what they have seen: that hides nothing by itself, but could help to. */
function warnOfHeads({ code, message }: NetsealError): void {
  process.stderr.write(
    `netseal: could not compare with all other clients: ${printable(message)} (${code})\n`,
  );
}

/** What was forgotten by accident is no reason to stop, and the user should know. */
function warnOfDamage({ marks: { damagedCount } }: ClientState): void {
  if (damagedCount === 0) return;
  process.stderr.write(
    `netseal: ${damagedCount} of the marks in the state folder were damaged and are dropped\n`,
  );
}

/** The folder for the state of all stores. */
function stateFolder({ state }: StoreOptions): string {
  const { NETSEAL_STATE: fromEnvironment, XDG_STATE_HOME: xdg } = process.env;
  if (state !== undefined) return state;
  if (fromEnvironment !== undefined && fromEnvironment !== '') return fromEnvironment;
  // Relative ones are to be ignored, says the specification.
  const base = xdg !== undefined && isAbsolute(xdg) ? xdg : `${homedir()}/.local/state`;
  return `${base}/netseal`;
}
