/**
 * Heads. In its head, the object `heads/<client id>`, each client of a volume tells the others what it has
 * seen. Clients merge one another's heads. So a server cannot show them different histories, or old ones,
 * unless it keeps them apart entirely. `docs/LAYOUT.md`, "Heads and marks", has the rules.
 *
 *   verify   calls `mergeHeads` and reports its `forks` and `problems`
 *   gc       calls `mergeHeads` first; deletes nothing that was referred to at `protectedSinceMs` or later;
 *            calls `dropOldHeads`, and `takeEphemeralHeads` (ephemeral-heads.ts)
 */
import { codeOf, isNetsealError, messageOf, NetsealError } from '../../base/errors.ts';
import type { Id } from '../../base/ids.ts';
import { listAll } from '../../server/list-all.ts';
import type { Head } from '../../server/sealed/head-format.ts';
import { type HeadObject, readHeadObject } from '../../server/sealed/head-object.ts';
import { HEAD_PREFIX, idOfKey } from '../../server/sealed/object-keys.ts';
import type { ObjectStore } from '../../server/store.ts';
import type { Session } from '../session/session.ts';
import { type Mark, readBesideMark } from '../state/marks.ts';

/** One version of one object that was seen with two contents. */
export interface Fork {
  readonly id: Id;
  readonly version: number;
  /** The clients that saw one content each. Twice the same client when its own head has two contents. */
  readonly clients: readonly [Id, Id];
  /** EFORK, with a message for people. */
  readonly error: NetsealError;
}

export interface MergedHead {
  readonly client: Id;
  readonly head: Head;
}

/** A version that another client has seen and this one had not heard of. */
export interface Learned {
  readonly version: number;
  /** A time by which it existed; ms since 1970, store's clock. */
  readonly existedAtMs: number;
  readonly client: Id;
}

export interface MergedHeads {
  /** The heads that have changed since this client merged them last. */
  readonly heads: readonly MergedHead[];
  /** How many heads there are, not counting our own. */
  readonly headCount: number;
  readonly forks: readonly Fork[];
  /** Errors of heads that are gone, cannot be read, or are older than before (EROLLBACK). */
  readonly problems: readonly NetsealError[];
  /** By inode. */
  readonly learned: ReadonlyMap<Id, Learned>;
  /** By how much the store's clock is ahead of this machine's; negative when it is behind. */
  readonly storeAheadMs: number;
}

export interface ListedHead {
  readonly client: Id;
  readonly version: string;
  readonly modifiedAtMs: number;
}

const HOUR_MS: number = 60 * 60 * 1000;
/** A session counts as dead when its client's head was not written for so long. */
export const SESSION_SILENT_MS_MAX: number = HOUR_MS;
/** A client counts as gone when its head was not written for so long. */
export const HEAD_AGE_MS_MAX: number = 90 * 24 * HOUR_MS;
/**
 * How much earlier than computed a file may have been opened, because asking the store for its clock takes
 * time.
 */
const CLOCK_MARGIN_MS = 60_000;
const READS_MAX = 64;
/** Only the newest heads are read, at most so many. */
const HEADS_MAX = 16_384;

/**
 * Reads the heads that have changed since the last merge and takes over their marks. From then on this client
 * refuses older versions. Errors of single heads are returned as `problems`. Throws the store's errors in
 * listing.
 */
export async function mergeHeads(session: Session, signal?: AbortSignal): Promise<MergedHeads> {
  const { store } = session.sealing;
  const { heads: memory } = session.state;
  // Before the first merge no head is remembered, so no time has to be compared with the store's clock.
  const askNow = memory.hasMerged ? store.now({ signal }) : undefined;
  const [listed, storeNow] = await Promise.all([listHeads(store, signal), askNow]);
  const nowMs = session.nowMs();
  const storeNowMs = storeNow ?? nowMs;
  const others = listed.filter(({ client }) => client !== memory.clientId).slice(0, HEADS_MAX);
  const merging = new Merging(session);
  merging.checkNoneGone(others, Math.min(storeNowMs, nowMs));
  const changed = others.filter(({ client, version }) => memory.heads.get(client)?.version !== version);
  await eachOf(changed, head => merging.merge(head, signal));
  memory.noteMerged(nowMs);
  return {
    heads: merging.heads,
    headCount: others.length,
    forks: merging.forks,
    problems: merging.problems,
    learned: merging.learned,
    storeAheadMs: storeNowMs - nowMs,
  };
}

/**
 * Returns since when files have been open in living sessions: ms since 1970, store's clock. gc must not
 * delete what was referred to at that time or later. Undefined when no session has files open. Throws when a
 * head that may count cannot be read.
 */
export async function protectedSinceMs(session: Session, signal?: AbortSignal): Promise<number | undefined> {
  const { store } = session.sealing;
  const [listed, storeNowMs] = await Promise.all([listHeads(store, signal), store.now({ signal })]);
  // A store's clock that runs ahead must not make living sessions look dead.
  const earliestNowMs = Math.min(storeNowMs, session.nowMs());
  const latestNowMs = Math.max(storeNowMs, session.nowMs());
  const recent = listed.filter(({ modifiedAtMs }) => earliestNowMs - modifiedAtMs <= SESSION_SILENT_MS_MAX);
  const times: number[] = [];
  const ownMs = openSinceMs(session, storeNowMs);
  if (ownMs !== undefined) times.push(ownMs);
  await eachOf(recent, async ({ client }) => {
    const head = await readHead(session, client, signal);
    if (head === undefined) return;
    if (isNetsealError(head)) throw head;
    // A head's writer leaves out sessions that were silent for too long. For our own session, `openFiles`
    // is more exact than the head.
    for (const { id, oldestOpenMs } of head.sessions) {
      // A time in the future is of a clock that was ahead. The true time is unknown: the earliest counts.
      if (id !== session.id)
        times.push(oldestOpenMs > latestNowMs + SESSION_SILENT_MS_MAX ? 0 : oldestOpenMs);
    }
  });
  return times.length === 0 ? undefined : Math.min(...times);
}

/**
 * Returns since when this session has had files open, or an earlier time; ms since 1970, store's clock.
 * Undefined when none is open.
 */
export function openSinceMs(
  { openFiles, nowMs, freshMs }: Pick<Session, 'openFiles' | 'nowMs' | 'freshMs'>,
  storeNowMs: number,
): number | undefined {
  const { oldestMs } = openFiles;
  if (oldestMs === undefined) return undefined;
  const machineNowMs = nowMs();
  // The clock was set back since, so it is unknown for how long the file has been open.
  if (machineNowMs < oldestMs) return 0;
  // The inode that the file was opened with may have been read up to `freshMs` earlier.
  const openForMs = machineNowMs - oldestMs + freshMs + CLOCK_MARGIN_MS;
  return Math.max(0, Math.trunc(Math.min(storeNowMs, machineNowMs) - openForMs));
}

/** How a pass of gc changes single heads: it notes a failure and goes on with the next head. */
export interface HeadCare {
  /** Runs a change of the object `key`. Resolves to false when it failed and the failure was noted. */
  readonly attempt: (key: string, work: () => Promise<unknown>) => Promise<boolean>;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Rewrites heads whose time in the store lies in the future, byte for byte, so that they get the present
 * time. A store's clock that was ahead gave them that time. Until it came, such a head would count as just
 * written, and its sessions as living. A client that still lives writes its head again by itself.
 */
export async function redateHeads(
  session: Session,
  isAhead: (timeMs: number) => boolean,
  { attempt, signal }: HeadCare,
): Promise<void> {
  const { store } = session.sealing;
  const ahead = (await listHeads(store, signal)).filter(({ modifiedAtMs }) => isAhead(modifiedAtMs));
  await eachOf(ahead, async ({ client }) => {
    const key = HEAD_PREFIX + client;
    await attempt(key, async () => {
      try {
        const { bytes, version } = await store.get(key, { signal });
        await store.put(key, [bytes], { condition: { ifMatch: version }, signal });
      } catch (error) {
        // Its client, or another gc, was quicker.
        const code = codeOf(error);
        if (code !== 'ECONFLICT' && code !== 'EMISSING') throw error;
      }
    });
  });
}

export interface DropHeadsOptions {
  readonly dryRun?: boolean | undefined;
  /** Deletes an object; resolves to false when it cannot be. Default: deletes it or rejects. */
  readonly drop?: ((key: string) => Promise<boolean>) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Removes the heads of clients that are gone. Returns the clients. With `dryRun` it removes nothing. */
export async function dropOldHeads(
  session: Session,
  { dryRun = false, drop, signal }: DropHeadsOptions = {},
): Promise<readonly Id[]> {
  const { store } = session.sealing;
  const { heads: memory } = session.state;
  const [listed, storeNowMs] = await Promise.all([listHeads(store, signal), store.now({ signal })]);
  const earliestNowMs = Math.min(storeNowMs, session.nowMs());
  const old = listed.filter(
    ({ client, modifiedAtMs }) =>
      client !== memory.clientId && earliestNowMs - modifiedAtMs > HEAD_AGE_MS_MAX,
  );
  if (dryRun) return old.map(({ client }) => client);
  await eachOf(old, async ({ client }) => {
    const key = HEAD_PREFIX + client;
    if (drop === undefined) await store.delete(key, { signal });
    else if (!(await drop(key))) return;
    memory.forget(client);
  });
  return old.map(({ client }) => client);
}

/**
 * Reads one head and compares it with its mark. Throws the store's errors.
 *
 * @returns undefined when there is no such head. In the object, `head` is an error when the head is damaged
 *   or fails its mark (EROLLBACK, EFORK).
 */
export async function readCheckedHead(
  { sealing, marks }: Pick<Session, 'sealing' | 'marks'>,
  client: Id,
  signal?: AbortSignal,
): Promise<HeadObject | undefined> {
  const read = (): Promise<HeadObject | undefined> =>
    readHeadObject(sealing, client, signal).catch(error => {
      if (codeOf(error) === 'EMISSING') return undefined;
      throw error;
    });
  const versionOf = (object: HeadObject | undefined): number | undefined =>
    object === undefined || isNetsealError(object.head) ? undefined : object.head.version;
  return await readBesideMark(marks, client, read, versionOf, object => {
    if (object === undefined || isNetsealError(object.head)) return object;
    const { version } = object.head;
    const newest = marks.get(client)?.version;
    try {
      marks.note(client, version, object.hash);
      return object;
    } catch (cause) {
      if (!isNetsealError(cause)) throw cause;
      const message =
        cause.code === 'EROLLBACK'
          ? `head of client ${client}: version ${version} is older than ${newest}, which was seen before`
          : `head of client ${client}: there are two of version ${version}`;
      return { ...object, head: new NetsealError(cause.code, message, { cause }) };
    }
  });
}

async function readHead(
  session: Session,
  client: Id,
  signal: AbortSignal | undefined,
): Promise<Head | NetsealError | undefined> {
  return (await readCheckedHead(session, client, signal))?.head;
}

/** Takes over the marks of one head. Adds newer versions to `learned`, and returns the forks. */
export function learnMarks(
  { marks, state }: Pick<Session, 'marks' | 'state'>,
  { client, head }: MergedHead,
  learned: Map<Id, Learned>,
): Fork[] {
  const forks: Fork[] = [];
  for (const { id, version, hash } of head.marks) {
    const outcome = marks.learn(id, { version, hash });
    if (outcome === 'fork') {
      forks.push(forkOf(id, { version, hash }, [learned.get(id)?.client ?? state.heads.clientId, client]));
    } else if (outcome === 'newer') {
      learned.set(id, { version, existedAtMs: head.writtenAtMs, client });
    }
  }
  return forks;
}

function forkOf(id: Id, { version }: Mark, clients: readonly [Id, Id]): Fork {
  const [one, other] = clients;
  const message = `inode ${id}: clients ${one} and ${other} were shown two different versions ${version}`;
  return { id, version, clients, error: new NetsealError('EFORK', message) };
}

/** One merge of heads, and what it has found so far. */
class Merging {
  readonly heads: MergedHead[] = [];
  readonly forks: Fork[] = [];
  readonly problems: NetsealError[] = [];
  readonly learned = new Map<Id, Learned>();
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  async merge({ client, version, modifiedAtMs }: ListedHead, signal: AbortSignal | undefined): Promise<void> {
    const head = await this.#read(client, signal);
    if (head === undefined) return;
    this.heads.push({ client, head });
    const forks = learnMarks(this.#session, { client, head }, this.learned);
    this.forks.push(...forks);
    // A head with a fork is not noted: every later merge reads it again and reports the fork again.
    if (forks.length > 0) return;
    const { isEphemeral } = head;
    this.#session.state.heads.noteRead(client, { version, modifiedAtMs, isEphemeral });
  }

  /** Reports heads that were read before and have gone, although no gc had a reason to remove them. */
  checkNoneGone(listed: readonly ListedHead[], nowMs: number): void {
    const { heads: memory } = this.#session.state;
    const there = new Set(listed.map(({ client }) => client));
    for (const [client, { modifiedAtMs, isEphemeral }] of memory.heads) {
      if (there.has(client)) continue;
      // This client has taken over this id from another of its processes: the head is now our own.
      if (client === memory.clientId) memory.forget(client);
      else if (isEphemeral || nowMs - modifiedAtMs > HEAD_AGE_MS_MAX) memory.forget(client);
      else this.problems.push(goneError(client));
    }
  }

  async #read(client: Id, signal: AbortSignal | undefined): Promise<Head | undefined> {
    try {
      const head = await readHead(this.#session, client, signal);
      if (!isNetsealError(head)) return head;
      this.#report(client, head);
    } catch (error) {
      signal?.throwIfAborted();
      if (!isNetsealError(error)) throw error;
      const message = `head of client ${client}: ${messageOf(error)}`;
      this.problems.push(new NetsealError(error.code, message, { cause: error }));
    }
    return undefined;
  }

  #report(client: Id, error: NetsealError): void {
    if (error.code !== 'EFORK') this.problems.push(error);
    else {
      const version = this.#session.marks.get(client)?.version ?? 0;
      this.forks.push({ id: client, version, clients: [client, client], error });
    }
  }
}

export function goneError(client: Id): NetsealError {
  return new NetsealError('EMISSING', `head of client ${client}: it was seen before, and is gone`);
}

/** Lists all heads, newest first. */
export async function listHeads(store: ObjectStore, signal: AbortSignal | undefined): Promise<ListedHead[]> {
  const listed: ListedHead[] = [];
  for await (const { key, version, modifiedAtMs, sizeBytes } of listAll(store, HEAD_PREFIX, signal)) {
    const client = idOfKey(key, HEAD_PREFIX);
    if (client === undefined) continue;
    listed.push({ client, version: version ?? `${modifiedAtMs} ${sizeBytes}`, modifiedAtMs });
  }
  return listed.sort((left, right) => right.modifiedAtMs - left.modifiedAtMs);
}

/**
 * Calls `work` for each item, a few at a time. When all calls have ended, it rejects with the first failure.
 */
export async function eachOf<Item>(
  items: readonly Item[],
  work: (item: Item) => Promise<void>,
): Promise<void> {
  const queue = items.values();
  const workers = Array.from({ length: Math.min(READS_MAX, items.length) }, async () => {
    for (const item of queue) await work(item);
  });
  for (const result of await Promise.allSettled(workers)) {
    if (result.status === 'rejected') throw result.reason;
  }
}
