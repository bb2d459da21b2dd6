/**
 * Finds out what a store really does, whatever it declares. Several writers race to create an object, or to
 * replace one version of it: exactly one of them must succeed. A server that ignores conditions, or compares
 * first and writes later, lets one client overwrite what another has just committed, and nobody is told.
 *
 * It writes objects below `probe/`, under random names, and removes them again.
 */
import { requireInteger, requireOptions } from '../base/arguments.ts';
import type { CallOptions } from '../base/call-options.ts';
import { codeOf, type ErrorCode, messageOf } from '../base/errors.ts';
import { MIB } from '../base/geometry.ts';
import { randomId } from '../base/ids.ts';
import { randomBytes } from '../base/random.ts';
import { type ObjectStore, requireStore, type Version } from './store.ts';

/** Everything that a probe writes begins with this. */
export const PROBE_PREFIX = 'probe/';

export interface ProbeOptions extends CallOptions {
  /** Another connection to the same objects: the writers of a race use both in turn. Default: none. */
  readonly other?: ObjectStore | undefined;
  /** How many races there are. Default 3. */
  readonly rounds?: number | undefined;
  /** Writers of one race, with small objects. Default 8. */
  readonly writers?: number | undefined;
  /**
   * The size of the large objects that two writers race to put. They reveal a server that compares first and
   * writes later. Default 16 MiB.
   */
  readonly largeBytes?: number | undefined;
}

/** One thing that was tried. */
export interface ProbeCheck {
  /** What has to hold. */
  readonly what: string;
  readonly holds: boolean;
  /** What happened instead; undefined when it holds. */
  readonly problem?: string | undefined;
}

export interface ProbeReport {
  /** `atomic` when every check of this condition holds. */
  readonly createIfAbsent: 'atomic' | 'none';
  readonly replaceIfMatch: 'atomic' | 'none';
  /**
   * Whether objects come back as they were put, whole and in ranges, and are listed and gone when they should
   * be.
   */
  readonly isSound: boolean;
  /** How far the server's clock is ahead of this machine's. Undefined when the store has none. */
  readonly clockAheadMs: number | undefined;
  readonly checks: readonly ProbeCheck[];
}

const ROUNDS_DEFAULT = 3;
const WRITERS_DEFAULT = 8;
const LARGE_BYTES_DEFAULT: number = 16 * MIB;
const LARGE_WRITERS = 2;

/**
 * Tries a store. Rejects with EINVAL, with the signal's reason, and with what the store fails with before
 * anything could be tried: EDENIED, EUNAVAILABLE, ECLOSED and the like.
 */
export async function probeStore(store: ObjectStore, options: ProbeOptions = {}): Promise<ProbeReport> {
  requireStore('store', store);
  requireOptions('options', options);
  const {
    other = store,
    rounds = ROUNDS_DEFAULT,
    writers = WRITERS_DEFAULT,
    largeBytes = LARGE_BYTES_DEFAULT,
    signal,
  } = options;
  requireStore('options.other', other);
  requireInteger('options.rounds', rounds, 1);
  requireInteger('options.writers', writers, 2);
  requireInteger('options.largeBytes', largeBytes);
  return await new Probe([store, other], { rounds, writers, largeBytes, signal }).run();
}

/** True when any number of clients may write to the store at once. */
export function isSafeForWriters({ createIfAbsent, replaceIfMatch, isSound }: ProbeReport): boolean {
  return isSound && createIfAbsent === 'atomic' && replaceIfMatch === 'atomic';
}

interface Sizes {
  readonly rounds: number;
  readonly writers: number;
  readonly largeBytes: number;
  readonly signal: AbortSignal | undefined;
}

/** What became of one writer of a race: the version that it put, or why it did not. */
type End = { readonly version: Version; readonly tag: string } | { readonly code: ErrorCode | undefined };

class Probe {
  readonly #stores: readonly [ObjectStore, ObjectStore];
  readonly #sizes: Sizes;
  readonly #root = `${PROBE_PREFIX}${randomId()}`;
  readonly #keys = new Set<string>();
  readonly #checks: ProbeCheck[] = [];

  constructor(stores: readonly [ObjectStore, ObjectStore], sizes: Sizes) {
    this.#stores = stores;
    this.#sizes = sizes;
  }

  async run(): Promise<ProbeReport> {
    const { signal } = this.#sizes;
    const [store] = this.#stores;
    const { createIfAbsent, replaceIfMatch, serverClock } = store.capabilities;
    try {
      const clockAheadMs = serverClock ? Math.round((await store.now({ signal })) - Date.now()) : undefined;
      await this.#soundness();
      const isSound = this.#areAllWell(0);
      const fromCreate = this.#checks.length;
      if (createIfAbsent === 'atomic') await this.#creating();
      const creates = createIfAbsent === 'atomic' && this.#areAllWell(fromCreate);
      const fromReplace = this.#checks.length;
      if (replaceIfMatch === 'atomic') await this.#replacing();
      const replaces = replaceIfMatch === 'atomic' && this.#areAllWell(fromReplace);
      return {
        createIfAbsent: creates ? 'atomic' : 'none',
        replaceIfMatch: replaces ? 'atomic' : 'none',
        isSound,
        clockAheadMs,
        checks: this.#checks,
      };
    } finally {
      // Also after an abort: what is left would stay for ever.
      await Promise.allSettled([...this.#keys].map(key => store.delete(key)));
    }
  }

  #areAllWell(from: number): boolean {
    return this.#checks.slice(from).every(({ holds }) => holds);
  }

  #key(name: string): string {
    const key = `${this.#root}/${name}`;
    this.#keys.add(key);
    return key;
  }

  /** Notes what was tried. `attempt` returns what is wrong, or undefined. */
  async #check(what: string, attempt: () => Promise<string | undefined>): Promise<void> {
    this.#sizes.signal?.throwIfAborted();
    let problem: string | undefined;
    try {
      problem = await attempt();
    } catch (error) {
      this.#sizes.signal?.throwIfAborted();
      if (FATAL.has(codeOf(error) ?? '')) throw error;
      problem = messageOf(error);
    }
    this.#checks.push(problem === undefined ? { what, holds: true } : { what, holds: false, problem });
  }

  async #soundness(): Promise<void> {
    const [store, other] = this.#stores;
    const { signal } = this.#sizes;
    const key = this.#key('object');
    const bytes = randomBytes(100_000);
    await this.#check('an object comes back as it was put', async () => {
      await store.put(key, [bytes.subarray(0, 10), bytes.subarray(10)], { signal });
      const found = await other.get(key, { signal });
      return Buffer.compare(found.bytes, bytes) === 0 ? undefined : 'other bytes came back';
    });
    await this.#check('so does a range of it', async () => {
      const found = await other.get(key, { range: { offsetBytes: 99_990, lengthBytes: 100 }, signal });
      const isRight =
        Buffer.compare(found.bytes, bytes.subarray(99_990)) === 0 && found.sizeBytes === 100_000;
      return isRight
        ? undefined
        : `${found.bytes.byteLength} bytes of ${found.sizeBytes} came back, or other ones`;
    });
    await this.#check('equal bytes that are put again have another version', async () => {
      const { version } = await other.get(key, { signal });
      await store.put(key, [bytes], { signal });
      const again = await other.get(key, { signal });
      return again.version === version ? 'the version is the same' : undefined;
    });
    await this.#check('a list shows what is there, and not what is gone', async () => {
      const list = async (): Promise<number> =>
        (await other.list({ prefix: `${this.#root}/`, limit: 10, signal })).entries.length;
      const before = await list();
      await store.delete(key, { signal });
      const after = await list();
      return before === 1 && after === 0
        ? undefined
        : `${before} keys before it was deleted, ${after} afterwards`;
    });
  }

  async #creating(): Promise<void> {
    const [store, other] = this.#stores;
    const { rounds, writers, largeBytes, signal } = this.#sizes;
    await this.#check('nothing is created where something is', async () => {
      const key = this.#key('taken');
      const { version } = await store.put(key, [randomBytes(10)], { condition: { ifAbsent: true }, signal });
      const code = await codeOfEnd(
        other.put(key, [randomBytes(10)], { condition: { ifAbsent: true }, signal }),
      );
      const now = await store.get(key, { signal });
      return now.version === version ? refusal(code) : 'the object was replaced';
    });
    for (let round = 0; round < rounds; round += 1) {
      await this.#check(`of ${writers} that create it, one does`, () =>
        this.#race(this.#key(`create-${round}`), writers, 10, undefined),
      );
    }
    if (largeBytes === 0) return;
    await this.#check(`so with ${largeBytes} bytes`, () =>
      this.#race(this.#key('create-large'), LARGE_WRITERS, largeBytes, undefined),
    );
  }

  async #replacing(): Promise<void> {
    const [store, other] = this.#stores;
    const { rounds, writers, largeBytes, signal } = this.#sizes;
    const put = (name: string): Promise<{ version: Version }> =>
      store.put(this.#key(name), [randomBytes(10)], { signal });
    await this.#check('the present version is replaced', async () => {
      const { version } = await put('present');
      await other.put(this.#key('present'), [randomBytes(10)], { condition: { ifMatch: version }, signal });
      return undefined;
    });
    await this.#check('an older version is not', async () => {
      const { version } = await put('old');
      const newer = await put('old');
      const code = await codeOfEnd(
        other.put(this.#key('old'), [randomBytes(10)], { condition: { ifMatch: version }, signal }),
      );
      const now = await store.get(this.#key('old'), { signal });
      return now.version === newer.version ? refusal(code) : 'the object was replaced';
    });
    await this.#check('neither is one that is gone', async () => {
      const { version } = await put('gone');
      await store.delete(this.#key('gone'), { signal });
      const code = await codeOfEnd(
        other.put(this.#key('gone'), [randomBytes(10)], { condition: { ifMatch: version }, signal }),
      );
      const there = await codeOfEnd(store.get(this.#key('gone'), { signal }));
      return there === 'EMISSING' ? refusal(code) : 'the object is there again';
    });
    const race = async (name: string, count: number, lengthBytes: number): Promise<string | undefined> =>
      await this.#race(this.#key(name), count, lengthBytes, (await put(name)).version);
    for (let round = 0; round < rounds; round += 1) {
      await this.#check(`of ${writers} that replace one version, one does`, () =>
        race(`replace-${round}`, writers, 10),
      );
    }
    if (largeBytes === 0) return;
    await this.#check(`so with ${largeBytes} bytes`, () => race('replace-large', LARGE_WRITERS, largeBytes));
  }

  /** Lets writers put under one condition at once. Returns what is wrong with the outcome. */
  async #race(
    key: string,
    writers: number,
    lengthBytes: number,
    ifMatch: Version | undefined,
  ): Promise<string | undefined> {
    const { signal } = this.#sizes;
    const condition = ifMatch === undefined ? ({ ifAbsent: true } as const) : { ifMatch };
    const ends = await Promise.all(
      Array.from({ length: writers }, async (_, at): Promise<End> => {
        const bytes = randomBytes(Math.max(16, lengthBytes));
        const tag = tagOf(bytes);
        const store = this.#stores[at % 2 === 0 ? 0 : 1];
        try {
          return { ...(await store.put(key, [bytes], { condition, signal })), tag };
        } catch (error) {
          return { code: codeOf(error) };
        }
      }),
    );
    const winners = ends.flatMap(end => ('version' in end ? [end] : []));
    const [winner] = winners;
    const now = await this.#stores[0].get(key, { range: { offsetBytes: 0, lengthBytes: 16 }, signal });
    if (winners.length > 1) return `${winners.length} were told that they did`;
    // The answer of the writer that succeeded may have been lost.
    const isUncertain = ends.some(end => 'code' in end && end.code === 'EUNCERTAIN');
    if (winner === undefined) return isUncertain && now.version !== ifMatch ? undefined : 'none did';
    return tagOf(now.bytes) === winner.tag ? undefined : 'the object is that of another';
  }
}

/** Codes of errors that end the probe, because nothing can be found out. */
const FATAL: ReadonlySet<string> = new Set(['EDENIED', 'EUNAVAILABLE', 'ECLOSED', 'EFULL', 'EINVAL']);

/** Returns the first bytes of an object as text. They are random, so they tell the objects apart. */
function tagOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, 16).toString('hex');
}

/** Returns a problem when a writer that changed nothing was told that it succeeded. */
function refusal(code: ErrorCode | undefined): string | undefined {
  return code === undefined ? 'the writer was told that it did' : undefined;
}

async function codeOfEnd(call: Promise<unknown>): Promise<ErrorCode | undefined> {
  try {
    await call;
    return undefined;
  } catch (error) {
    const code = codeOf(error);
    if (code === undefined) throw error;
    return code;
  }
}
