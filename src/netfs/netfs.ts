/**
 * The netfs core: files of any server, read and written at random, through one page cache.
 *
 *   read    pages ──▶ what is not committed ──▶ cache ──▶ server  `read.ts`, `fetch.ts`, `base.ts`, `unit-cache.ts`
 *   write   pages ──▶ flush: prepare, upload ──▶ commit           `write.ts`, `flush.ts`, `prepare.ts`, `upload.ts`
 *                                              └──▶ cache         `commit.ts`, `rebase.ts`, `streams.ts`
 *
 * Invariants
 *   1. A file has one state, whoever has opened it, and however often: found by its server and key.
 *   2. Memory for pages never grows: writers wait (`room.ts`).
 *   3. What was written is readable here until it is committed, or dropped by `discard`.
 */
import { abortable } from '../base/abortable.ts';
import { toByteString } from '../base/bytes.ts';
import { NetsealError } from '../base/errors.ts';
import { MIB } from '../base/geometry.ts';
import { type Scheduler, systemScheduler } from '../base/scheduler.ts';
import { TURN_MS, TurnClock } from '../base/turns.ts';
import type { Pipeline } from '../pipeline/pipeline.ts';
import { sealedBytesMax } from '../unit/seal.ts';
import { tellDropped } from './events.ts';
import { requireFits } from './fetch.ts';
import type { FileStatus, NetfsFile, OpenFileOptions } from './file.ts';
import { FileOfNetfs } from './handle.ts';
import { OpenFile } from './open-file.ts';
import type { PageCache, PageUse } from './pages/pages.ts';
import type { NetfsParts } from './parts.ts';
import type { Stash } from './rebase.ts';
import { ErrorSequence } from './regions/errseq.ts';
import { Regions } from './regions/regions.ts';
import { Room } from './room.ts';
import type { CommitSub, FileForm, NetfsServer } from './server.ts';
import { HeldBytes, type StreamCounters, type StreamDropped, Streams, type WriteStream } from './streams.ts';
import { type SealedUnits, UnitCache, type UnitCacheCounters } from './unit-cache.ts';

const FRESH_MS_DEFAULT = 1000;
/** The share of a slab that optional streams may hold. */
const HELD_SHARE = 4;
const RECORD_BYTES_DEFAULT: number = 16 * MIB;

export interface NetfsSettings {
  /** Seals and opens. It stays the caller's, and must outlive the netfs. */
  readonly pipeline: Pipeline;
  /** Holds plain bytes. The netfs's own from then on. */
  readonly pages: PageCache;
  /** Default: the system's clock. */
  readonly scheduler?: Scheduler;
  /** How long a file without changes is used without asking the server again. Default 1000; 0 for never. */
  readonly freshMs?: number;
  /**
   * Memory for the records of one file's changes, about. When they need three quarters of it, writers wait
   * for a commit. Default 16 MiB.
   */
  readonly recordBytes?: number;
  /**
   * For how long calls that are answered at once may run before others get the event loop, in ms. Default 1.
   * Tests in which the order must not depend on time take Infinity.
   */
  readonly turnMs?: number;
  /** Checks the invariants of regions after every step. Slow: for tests. Default false. */
  readonly isChecked?: boolean;
  /** Called when a file goes on without one of its optional streams. */
  readonly onStreamDropped?: ((event: StreamDropped) => void) | undefined;
}

/** How caches and other streams were used, by all files since the netfs was made. */
export interface NetfsStatistics {
  readonly cache: Readonly<UnitCacheCounters>;
  readonly streams: Readonly<StreamCounters>;
}

export interface NetfsOpenOptions<Handle = unknown> extends OpenFileOptions {
  /**
   * Keeps changes that contradict those of another client. The first caller that opens a file sets it for
   * all. Default: the commit fails with ECONFLICT until the changes are discarded.
   */
  readonly stash?: Stash<Handle>;
  /**
   * Where sealed units are looked for first, and kept. It stays the caller's. The first caller that opens a
   * file sets it for all. Default: none.
   */
  readonly cache?: SealedUnits | undefined;
  /** Other takers of what is written. The first caller that opens a file sets them for all. Default: none. */
  readonly streams?: readonly WriteStream[];
}

/** What the first caller that opens a file sets for all. */
type Setup<Handle> = Pick<NetfsOpenOptions<Handle>, 'stash' | 'cache' | 'streams'>;

export interface NetfsCloseOptions {
  /** Drops what cannot be committed. Default false. */
  readonly discard?: boolean;
}

/** A file that is open, or is being opened or given back. */
interface Entry {
  readonly opening: Promise<OpenFile<unknown>>;
  file: OpenFile<unknown> | undefined;
  ending: Promise<void> | undefined;
}

export class Netfs implements AsyncDisposable {
  readonly #parts: NetfsParts;
  readonly #room: Room;
  readonly #isChecked: boolean;
  readonly #files = new Map<NetfsServer, Map<string, Entry>>();
  /** Errors of giving files back in the background. `close` throws them. */
  readonly #endErrors: unknown[] = [];
  readonly #caches = new Map<SealedUnits, UnitCache>();
  readonly #onStreamDropped: (event: StreamDropped) => void;
  #isClosed = false;

  constructor(settings: NetfsSettings) {
    const {
      pipeline,
      pages,
      scheduler = systemScheduler,
      freshMs = FRESH_MS_DEFAULT,
      recordBytes = RECORD_BYTES_DEFAULT,
      turnMs = TURN_MS,
      isChecked = false,
      onStreamDropped = () => undefined,
    } = settings;
    const heldBytes = Math.floor(pipeline.slabBytes / HELD_SHARE);
    const held = { sealed: new HeldBytes(heldBytes), fetched: new HeldBytes(heldBytes) };
    const turns = new TurnClock(turnMs);
    const streamCounters = { offered: 0, notOffered: 0, dropped: 0 };
    this.#parts = { pipeline, pages, scheduler, freshMs, recordBytes, turns, held, streamCounters };
    this.#onStreamDropped = onStreamDropped;
    this.#room = new Room(pages, scheduler);
    this.#isChecked = isChecked;
  }

  /**
   * Opens a file by its key.
   *
   * Rejects with EINVAL (its units do not fit into the pipeline's memory), ECLOSED, and with what the
   * server's `open` fails with.
   */
  async openFile<Handle>(
    server: NetfsServer<Handle>,
    key: Uint8Array,
    options: NetfsOpenOptions<Handle> = {},
  ): Promise<NetfsFile> {
    for (;;) {
      options.signal?.throwIfAborted();
      if (this.#isClosed) throw new NetsealError('ECLOSED', 'the netfs is closed');
      const entry = this.#entry(server, key, options);
      const file = await abortable(entry.opening, options.signal, () =>
        this.#endWhenOpened(server, key, entry),
      );
      if (entry.ending !== undefined) {
        await entry.ending;
        continue;
      }
      file.opened();
      return new FileOfNetfs(file, options, () => this.#closed(server, key, entry));
    }
  }

  /** How the memory for pages is used now. */
  get pages(): PageUse {
    return this.#parts.pages.use;
  }

  get statistics(): NetfsStatistics {
    const cache = { hits: 0, misses: 0, failed: 0 };
    for (const { counters } of this.#caches.values()) {
      cache.hits += counters.hits;
      cache.misses += counters.misses;
      cache.failed += counters.failed;
    }
    return { cache, streams: { ...this.#parts.streamCounters } };
  }

  /** What is known of a file; undefined for one that is not open, and has no changes. */
  status(server: NetfsServer, key: Uint8Array): FileStatus | undefined {
    return this.#find(server, key)?.status;
  }

  /** The files that are open or have changes, with what is known of each. */
  *files(): Generator<{ readonly key: Uint8Array; readonly status: FileStatus }, void, undefined> {
    for (const { file } of this.#entries()) {
      if (file !== undefined) yield { key: file.parts.key, status: file.status };
    }
  }

  /**
   * Commits one file, if it is open or has changes. Rejects as `File.sync` does, but is told no old errors.
   */
  async commit(server: NetfsServer, key: Uint8Array, signal?: AbortSignal): Promise<void> {
    await this.#find(server, key)?.commit(signal);
  }

  /**
   * Gives the content of an open file to `save`; see `OpenFile.saveAs`. ECLOSED for a file that is not open.
   */
  async saveAs(server: NetfsServer, key: Uint8Array, save: Stash<unknown>): Promise<void> {
    const file = this.#find(server, key);
    if (file === undefined) throw new NetsealError('ECLOSED', 'the file is not open');
    await file.saveAs(save);
  }

  #find(server: NetfsServer, key: Uint8Array): OpenFile<unknown> | undefined {
    return this.#files.get(server)?.get(toByteString(key))?.file;
  }

  /** Commits all files. Rejects with the errors of those that cannot be, when all have been tried. */
  async flush(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    const files = [...this.#entries()].flatMap(({ file }) => (file === undefined ? [] : [file]));
    const results = await Promise.allSettled(files.map(file => file.commit(options.signal)));
    const errors = results.flatMap(result => (result.status === 'rejected' ? [result.reason] : []));
    if (errors.length === 1) throw errors[0];
    if (errors.length > 1) throw new AggregateError(errors, `${errors.length} files could not be committed`);
  }

  /**
   * Commits all files and closes. Open files are of no use afterwards.
   *
   * Rejects as `flush` does. Then the netfs stays open, and everything in it: close it again, or with
   * `discard`.
   */
  async close({ discard = false }: NetfsCloseOptions = {}): Promise<void> {
    if (this.#isClosed) return;
    try {
      // Once more, for what was written while the first flush ran.
      do await this.flush();
      while (![...this.#entries()].every(({ file }) => file?.isCommitted !== false));
    } catch (error) {
      if (!discard) throw error;
    }
    if (this.#isClosed) return;
    this.#isClosed = true;
    // All in this turn: whatever is written to any of them from now on is refused.
    const endings = await Promise.allSettled([...this.#entries()].map(entry => endNow(entry)));
    this.#files.clear();
    await this.#room.close();
    this.#parts.pages.close();
    const errors = endings.flatMap(ending => (ending.status === 'rejected' ? [ending.reason] : []));
    for (const error of [...errors, ...this.#endErrors]) throw error;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  *#entries(): Generator<Entry, void, undefined> {
    for (const ofServer of this.#files.values()) yield* ofServer.values();
  }

  #entry<Handle>(server: NetfsServer<Handle>, key: Uint8Array, setup: Setup<Handle>): Entry {
    const ofServer = this.#files.get(server) ?? new Map<string, Entry>();
    this.#files.set(server, ofServer);
    const name = toByteString(key);
    const known = ofServer.get(name);
    if (known !== undefined) return known;
    const entry: Entry = {
      opening: this.#open(server, key.slice(), setup, () => this.#endInBackground(server, key, entry)),
      file: undefined,
      ending: undefined,
    };
    ofServer.set(name, entry);
    entry.opening.then(
      file => {
        entry.file = file;
      },
      () => {
        if (ofServer.get(name) === entry) ofServer.delete(name);
      },
    );
    return entry;
  }

  async #open<Handle>(
    server: NetfsServer<Handle>,
    key: Uint8Array,
    { stash, cache, streams = [] }: Setup<Handle>,
    onCommitted: () => void,
  ): Promise<OpenFile<Handle>> {
    // The caller's signal does not end the opening: others may wait for the same file.
    const { handle, state, form, isNew = false } = await server.open(key, {});
    try {
      requireFits(form, this.#parts.pipeline);
    } catch (error) {
      await server.close(handle);
      throw error;
    }
    const { unitSizeBytes } = form;
    const regions = new Regions({ unitSizeBytes, committed: state, isChecked: this.#isChecked });
    const pages = this.#parts.pages.addFile(key);
    const errors = new ErrorSequence();
    const units = this.#cacheOf(cache);
    const parts = {
      netfs: this.#parts,
      key,
      server,
      handle,
      form,
      pages,
      regions,
      errors,
      cache: units,
      streams: this.#streamsOf(key, form, units === undefined ? streams : [...streams, units]),
    };
    const bound = stash === undefined ? undefined : (sub: CommitSub) => stash(handle, sub);
    return new OpenFile(parts, this.#room, bound, onCommitted, isNew);
  }

  #cacheOf(units: SealedUnits | undefined): UnitCache | undefined {
    if (units === undefined) return undefined;
    const cache = this.#caches.get(units) ?? new UnitCache(units);
    this.#caches.set(units, cache);
    return cache;
  }

  #streamsOf(
    key: Uint8Array,
    { unitSizeBytes, padding }: FileForm,
    streams: readonly WriteStream[],
  ): Streams {
    const { scheduler, streamCounters: counters } = this.#parts;
    const unitBytesMax = sealedBytesMax(unitSizeBytes, padding);
    const onDropped = (event: StreamDropped): void => {
      tellDropped(event.key, event.stream, event.error);
      this.#onStreamDropped(event);
    };
    return new Streams({ key, scheduler, counters, unitBytesMax, onDropped }, streams);
  }

  /** Gives a file back once its opening has ended, because nobody waits for it any more. */
  #endWhenOpened(server: NetfsServer, key: Uint8Array, entry: Entry): void {
    entry.opening.then(
      () => this.#endInBackground(server, key, entry),
      // The opening failed: there is nothing to give back.
      () => undefined,
    );
  }

  #endInBackground(server: NetfsServer, key: Uint8Array, entry: Entry): void {
    this.#endIfUnused(server, key, entry).catch(error => {
      this.#endErrors.push(error);
    });
  }

  async #closed(server: NetfsServer, key: Uint8Array, entry: Entry): Promise<void> {
    entry.file?.closed();
    await this.#endIfUnused(server, key, entry);
  }

  /** Gives a file back when nobody has it open and everything of it is committed. */
  async #endIfUnused(server: NetfsServer, key: Uint8Array, entry: Entry): Promise<void> {
    const { file } = entry;
    if (file === undefined || file.openCount > 0 || !file.isCommitted) return;
    entry.ending ??= file.end().finally(() => {
      const ofServer = this.#files.get(server);
      ofServer?.delete(toByteString(key));
      if (ofServer?.size === 0) this.#files.delete(server);
    });
    await entry.ending;
  }
}

/** Gives a file back. A file that has been opened is ended in this turn. */
async function endNow(entry: Entry): Promise<void> {
  const file = entry.file ?? (await entry.opening.catch(() => undefined));
  if (file === undefined) return;
  entry.ending ??= file.end();
  await entry.ending;
}
