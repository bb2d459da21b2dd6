/**
 * Opens what a command for volumes works on, and closes it whatever happens. There are three depths, each
 * within the one before:
 *
 * - {@link withStore}: the store, and what this client remembers of it.
 * - {@link withUnlockedHeader}: also the volume header, unlocked.
 * - {@link withVolume}: also the volume, with its worker threads.
 */
import { getSystemErrorMessage } from 'node:util';
import { codeOf, isSystemError, messageOf, NetsealError } from '../../base/errors.ts';
import type { Cache } from '../../cache/cache.ts';
import type { Secret } from '../../keys/secret.ts';
import type { VolumeHeader } from '../../keys/volume-header.ts';
import type { Pipeline } from '../../pipeline/pipeline.ts';
import type { ObjectStore } from '../../server/store.ts';
import type { ClientState } from '../../volume/state/client-state.ts';
import type { Volume } from '../../volume/volume.ts';
import { openCacheIn } from '../lib/cache-opening.ts';
import { type Frame, inFrame } from '../lib/frame.ts';
import { loadPipeline, loadStore, loadVolume } from '../lib/lazy.ts';
import { warn } from '../lib/notes.ts';
import { readSecret } from '../lib/secrets.ts';
import {
  canonicalStoreName,
  type Location,
  type OpenStoreOptions,
  openStoreAt,
  parseStore,
} from './location.ts';
import { type StoreOptions, stateFolder, type VolumeOptions } from './options.ts';
import { withRemote } from './remotes.ts';

/** A store with what this client remembers of it. */
export interface StoreAccess {
  readonly store: ObjectStore;
  readonly state: ClientState;
  /**
   * Reads the secret that the options name, or asks for it. Call it once, unless a cache needs it as well.
   */
  readonly secrets: () => Promise<Secret>;
}

export interface UnlockedHeader {
  readonly store: ObjectStore;
  readonly secrets: () => Promise<Secret>;
  /** Its keyring is destroyed when the work ends. */
  readonly header: VolumeHeader;
  readonly state: ClientState;
}

export interface VolumeAccess extends UnlockedHeader {
  readonly volume: Volume;
  readonly pipeline: Pipeline;
}

/** Opens the store and its state for `work`. Afterwards saves the state and closes both. */
export async function withStore<Result>(
  { storeText }: Location,
  given: StoreOptions & OpenStoreOptions,
  signal: AbortSignal,
  work: (access: StoreAccess) => Promise<Result>,
): Promise<Result> {
  const options = withRemote(storeText, given);
  const store = await openStoreAt(storeText, options);
  try {
    const { openStateFolder } = await loadStore();
    const name = await canonicalStoreName(storeText);
    const state = await openStateFolder(stateFolder(options), name).catch(error => {
      throw stateError(error);
    });
    try {
      const reading = once(() => readSecret(options, signal));
      return await work({ store, state, secrets: reading });
    } finally {
      await state.close();
    }
  } finally {
    await store.close();
  }
}

/** Returns an error of opening the state folder that says what to do. */
function stateError(error: unknown): unknown {
  if (!isSystemError(error)) return error;
  const why = error.errno === undefined ? error.message : getSystemErrorMessage(error.errno);
  return new NetsealError(
    'EIO',
    `cannot remember this store in ${error.path}: ${why}; name another folder with --state or NETSEAL_STATE`,
    { cause: error },
  );
}

/**
 * Opens the store, unlocks its header, and compares it with what this client saw before. Then as {@link
 * withStore}.
 */
export function withUnlockedHeader<Result>(
  location: Location,
  options: StoreOptions,
  signal: AbortSignal,
  work: (unlocked: UnlockedHeader) => Promise<Result>,
): Promise<Result> {
  return withStore(location, options, signal, access => unlocking(access, signal, work));
}

async function unlocking<Result>(
  { store, state, secrets }: StoreAccess,
  signal: AbortSignal,
  work: (unlocked: UnlockedHeader) => Promise<Result>,
): Promise<Result> {
  const { unlockHeaderObject } = await loadStore();
  const header = await unlockHeaderObject(store, secrets, state, { signal });
  try {
    signal.throwIfAborted();
    warnOfDamage(state);
    return await work({ store, secrets, header, state });
  } finally {
    header.keyring.destroy();
  }
}

/**
 * Opens a volume for `work`. Afterwards syncs and closes the volume, its pipeline and its store, in this
 * order, whatever happens.
 *
 * - A failure of closing is reported only if `work` did not fail.
 * - When the signal aborts, `work` must end by itself: nothing is closed under it.
 */
export function withVolume<Result>(
  location: Location,
  options: VolumeOptions,
  signal: AbortSignal,
  work: (access: VolumeAccess) => Promise<Result>,
): Promise<Result> {
  return mounting(mount => withUnlockedHeader(location, options, signal, mount), options, work);
}

/** Does the same as {@link withVolume} for a store that is open, and stays open. */
export function withVolumeIn<Result>(
  access: StoreAccess,
  options: VolumeOptions,
  signal: AbortSignal,
  work: (access: VolumeAccess) => Promise<Result>,
): Promise<Result> {
  return mounting(mount => unlocking(access, signal, mount), options, work);
}

async function mounting<Result>(
  unlock: (mount: (unlocked: UnlockedHeader) => Promise<Result>) => Promise<Result>,
  options: VolumeOptions,
  work: (access: VolumeAccess) => Promise<Result>,
): Promise<Result> {
  // The threads start while the header is read and unlocked.
  const starting = startPipeline(options.workers);
  starting.catch(() => undefined);
  const loading = loadVolume();
  loading.catch(() => undefined);
  return await closing(
    unlock(async unlocked => {
      const pipeline = await starting;
      const { store, header, state, secrets } = unlocked;
      const { Volume } = await loading;
      const cache = options.cache === undefined ? undefined : await openCacheFor(options.cache, secrets);
      const opening = { store, pipeline, header, state, onProblem: warnOfHeads };
      const working = (async () => {
        const volume = await Volume.open(cache === undefined ? opening : { ...opening, cache });
        return await closing(work({ ...unlocked, volume, pipeline }), () => volume.close());
      })();
      return await closing(working, async () => await cache?.close());
    }),
    async () => {
      const pipeline = await starting.catch(() => undefined);
      await pipeline?.close();
    },
  );
}

/**
 * Runs a command that works on a whole volume: opens the volume in the store that `text` names, and stops at
 * Ctrl-C. EINVAL when `text` also names a path.
 *
 * @param command the command's name, for messages.
 */
export function onWholeVolume(
  command: string,
  text: string,
  options: VolumeOptions,
  work: (access: VolumeAccess & Frame) => Promise<void>,
): Promise<void> {
  const location = parseStore(text, command);
  return inFrame(frame =>
    withVolume(location, options, frame.signal, access => work({ ...access, ...frame })),
  );
}

/** Codes of errors after which the command goes on without the cache. */
const CACHE_IS_AWAY: ReadonlySet<string> = new Set(['EDENIED', 'EIO', 'EFULL']);

/**
 * Opens the cache in `folder` with the volume's secret. Undefined, with a warning, while it cannot be used:
 * another process may have it. ENOENT when there is none, EKEY when the secret does not open it, and errors
 * of damage.
 */
async function openCacheFor(folder: string, secrets: () => Promise<Secret>): Promise<Cache | undefined> {
  try {
    return await openCacheIn(folder, {}, { key: { secrets } });
  } catch (error) {
    const code = codeOf(error);
    if (code === 'EKEY') {
      const advice = `the cache in ${folder} has another secret: "netseal cache key add" gives it that of the volume`;
      throw new NetsealError('EKEY', advice, { cause: error });
    }
    if (code === undefined || !CACHE_IS_AWAY.has(code)) throw error;
    warn(`does without the cache in ${folder}: ${messageOf(error)}`, code);
    return undefined;
  }
}

/** Returns a function that calls `read` once, and then returns the same. */
function once<Value>(read: () => Promise<Value>): () => Promise<Value> {
  let reading: Promise<Value> | undefined;
  return () => {
    reading ??= read();
    return reading;
  };
}

async function startPipeline(workers: number | undefined): Promise<Pipeline> {
  const { openPipeline } = await loadPipeline();
  return await openPipeline(workers === undefined ? {} : { workers });
}

/** Waits for `work`, then for `close`. Rejects with the failure of `work`, else with that of `close`. */
async function closing<Result>(work: Promise<Result>, close: () => Promise<void>): Promise<Result> {
  const [outcome] = await Promise.allSettled([work]);
  const [closed] = await Promise.allSettled([close()]);
  if (outcome.status === 'rejected') throw outcome.reason;
  if (closed.status === 'rejected') throw closed.reason;
  return outcome.value;
}

/**
 * Warns that clients could not compare what they have seen. This alone does no harm, but a server could now
 * show an older version unnoticed.
 */
function warnOfHeads({ code, message }: NetsealError): void {
  warn(`could not compare with all other clients: ${message}`, code);
}

/** Warns of memories of this client that are damaged and lost. This is no reason to stop. */
function warnOfDamage({ marks: { damagedCount }, heads: { damagedPath } }: ClientState): void {
  if (damagedCount > 0) {
    warn(`${damagedCount} of the marks in the state folder were damaged and are dropped`);
  }
  if (damagedPath === undefined) return;
  warn(
    `what this client knew of the others' heads was damaged and is dropped; it takes a new id and reads them again: ${damagedPath}`,
  );
}
