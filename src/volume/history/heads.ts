/**
 * Heads: what each client of a volume says that it has seen, in an object of its own, `heads/<client id>`. Clients read one
 * another's, so that a server cannot show them different histories, or old ones, without cutting them off from each other.
 * `docs/LAYOUT.md`, "Heads and marks", has the rules.
 *
 * For verify: `mergeHeads(session)`, and report its `forks` and `problems`. For gc: the same before anything else, then delete
 * nothing that something referred to at `protectedSinceMs(session)` or later; and `dropOldHeads(session)`.
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

/** One version of one object with two contents. */
export interface Fork {
  readonly id: Id;
  readonly version: number;
  /** Who saw the two. */
  readonly clients: readonly [Id, Id];
  /** EFORK, for people. */
  readonly error: NetsealError;
}

export interface MergedHead {
  readonly client: Id;
  readonly head: Head;
}

/** Something that another client knew to exist, and we did not. */
export interface Learned {
  readonly version: number;
  /** By the store's clock: it existed then, or before. */
  readonly existedAtMs: number;
  readonly client: Id;
}

export interface MergedHeads {
  /** Those that have changed since they were merged last. */
  readonly heads: readonly MergedHead[];
  /** All that there are, without our own. */
  readonly headCount: number;
  readonly forks: readonly Fork[];
  /** Heads that are gone, or cannot be read, or older than one that was seen before (EROLLBACK). */
  readonly problems: readonly NetsealError[];
  readonly learned: ReadonlyMap<Id, Learned>;
  /** By how much the store's clock is ahead of this machine's. */
  readonly serverAheadMs: number;
}

interface ListedHead {
  readonly client: Id;
  readonly version: string;
  readonly modifiedAtMs: number;
}

const HOUR_MS: number = 60 * 60 * 1000;
/** A session whose head was not written for so long is not alive. */
export const SESSION_SILENT_MS_MAX: number = HOUR_MS;
/** A client whose head was not written for so long is gone. */
export const HEAD_AGE_MS_MAX: number = 90 * 24 * HOUR_MS;
/** What a file was opened by may be older than the file's opening, and the store's clock is asked from afar. */
const CLOCK_MARGIN_MS = 60_000;
const READS_MAX = 64;
/** More heads than this are not read: the newest are. */
const HEADS_MAX = 16_384;

/**
 * Reads the heads that have changed since the last time, and takes their marks over: from then on this client refuses what is
 * older. What is wrong with a head is reported, not thrown. Rejects with what listing throws.
 */
export async function mergeHeads(session: Session, signal?: AbortSignal): Promise<MergedHeads> {
  const { store } = session.sealing;
  const { heads: memory } = session.state;
  const [listed, serverNowMs] = await Promise.all([listHeads(store, signal), store.now({ signal })]);
  const nowMs = session.nowMs();
  const others = listed.filter(({ client }) => client !== memory.clientId).slice(0, HEADS_MAX);
  const merging = new Merging(session);
  merging.checkNoneGone(others, Math.min(serverNowMs, nowMs));
  const changed = others.filter(({ client, version }) => memory.heads.get(client)?.version !== version);
  await eachOf(changed, head => merging.merge(head, signal));
  memory.noteMerged(nowMs);
  return {
    heads: merging.heads,
    headCount: others.length,
    forks: merging.forks,
    problems: merging.problems,
    learned: merging.learned,
    serverAheadMs: serverNowMs - nowMs,
  };
}

/**
 * What open files of living sessions may still need: gc must not delete what was referred to at this time (by the store's
 * clock) or later. Undefined when no session says that it has files open. Throws when a head that may count cannot be read.
 */
export async function protectedSinceMs(session: Session, signal?: AbortSignal): Promise<number | undefined> {
  const { store } = session.sealing;
  const [listed, serverNowMs] = await Promise.all([listHeads(store, signal), store.now({ signal })]);
  // A server's clock that runs ahead must not make sessions look dead.
  const earliestNowMs = Math.min(serverNowMs, session.nowMs());
  const recent = listed.filter(({ modifiedAtMs }) => earliestNowMs - modifiedAtMs <= SESSION_SILENT_MS_MAX);
  const times: number[] = [];
  const ownMs = openSinceMs(session, serverNowMs);
  if (ownMs !== undefined) times.push(ownMs);
  await eachOf(recent, async ({ client }) => {
    const head = await readHead(session, client, signal);
    if (head === undefined) return;
    if (isNetsealError(head)) throw head;
    // Whoever wrote it left out those that it had not heard of for long. Of ourselves we know better.
    for (const { id, oldestOpenMs } of head.sessions) if (id !== session.id) times.push(oldestOpenMs);
  });
  return times.length === 0 ? undefined : Math.min(...times);
}

/** Since when this session has files open: by the store's clock, or earlier. Undefined when none is. */
export function openSinceMs(
  { openFiles, nowMs, freshMs }: Pick<Session, 'openFiles' | 'nowMs' | 'freshMs'>,
  serverNowMs: number,
): number | undefined {
  const { oldestMs } = openFiles;
  if (oldestMs === undefined) return undefined;
  const ownNowMs = nowMs();
  const openForMs = ownNowMs - oldestMs + freshMs + CLOCK_MARGIN_MS;
  return Math.max(0, Math.trunc(Math.min(serverNowMs, ownNowMs) - openForMs));
}

/** Removes the heads of clients that are gone. Returns whose. With `dryRun`, removes nothing. */
export async function dropOldHeads(
  session: Session,
  { dryRun = false, signal }: { readonly dryRun?: boolean; readonly signal?: AbortSignal } = {},
): Promise<readonly Id[]> {
  const { store } = session.sealing;
  const { heads: memory } = session.state;
  const [listed, serverNowMs] = await Promise.all([listHeads(store, signal), store.now({ signal })]);
  const earliestNowMs = Math.min(serverNowMs, session.nowMs());
  const old = listed.filter(
    ({ client, modifiedAtMs }) =>
      client !== memory.clientId && earliestNowMs - modifiedAtMs > HEAD_AGE_MS_MAX,
  );
  if (dryRun) return old.map(({ client }) => client);
  await eachOf(old, async ({ client }) => {
    await store.delete(HEAD_PREFIX + client, { signal });
    memory.forget(client);
  });
  return old.map(({ client }) => client);
}

/**
 * Reads one head and holds it against its mark.
 *
 * @returns an error when it cannot be used (EROLLBACK and EFORK, too), undefined when there is none. Throws what the
 *   store throws.
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

/** Takes over the marks of one head. Returns what came out to be forked. */
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

/** One merge of all heads. */
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
    // One with a fork is read again and again until that is settled.
    if (forks.length === 0) this.#session.state.heads.noteRead(client, { version, modifiedAtMs });
  }

  /** Heads that were there once and are no longer, though nobody had reason to remove them. */
  checkNoneGone(listed: readonly ListedHead[], nowMs: number): void {
    const { heads: memory } = this.#session.state;
    const there = new Set(listed.map(({ client }) => client));
    for (const [client, { modifiedAtMs }] of memory.heads) {
      if (there.has(client)) continue;
      // It was another's until this process heard that it has that id, too.
      if (client === memory.clientId) memory.forget(client);
      else if (nowMs - modifiedAtMs > HEAD_AGE_MS_MAX) memory.forget(client);
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

/** Newest first. */
async function listHeads(store: ObjectStore, signal: AbortSignal | undefined): Promise<ListedHead[]> {
  const listed: ListedHead[] = [];
  for await (const { key, version, modifiedAtMs, sizeBytes } of listAll(store, HEAD_PREFIX, signal)) {
    const client = idOfKey(key, HEAD_PREFIX);
    if (client === undefined) continue;
    listed.push({ client, version: version ?? `${modifiedAtMs} ${sizeBytes}`, modifiedAtMs });
  }
  return listed.sort((left, right) => right.modifiedAtMs - left.modifiedAtMs);
}

/** A few at a time. Rejects with the first failure, when none runs any more. */
async function eachOf<Item>(items: readonly Item[], work: (item: Item) => Promise<void>): Promise<void> {
  const queue = items.values();
  const workers = Array.from({ length: Math.min(READS_MAX, items.length) }, async () => {
    for (const item of queue) await work(item);
  });
  for (const result of await Promise.allSettled(workers)) {
    if (result.status === 'rejected') throw result.reason;
  }
}
