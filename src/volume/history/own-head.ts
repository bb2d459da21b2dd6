/**
 * Writes this client's own head. All processes of a client write the same object. Each takes over the marks
 * that it finds there, and changes only its own entry in the list of sessions with open files.
 */
import { codeOf, isNetsealError, NetsealError } from '../../base/errors.ts';
import type { Id } from '../../base/ids.ts';
import { requireChangeable } from '../../server/sealed/extensions.ts';
import {
  HEAD_MARKS_MAX,
  HEAD_SESSIONS_MAX,
  type Head,
  type HeadMark,
  type OpenSession,
} from '../../server/sealed/head-format.ts';
import { type HeadObject, putHeadObject } from '../../server/sealed/head-object.ts';
import { HEAD_PREFIX } from '../../server/sealed/object-keys.ts';
import { recordEpoch } from '../../server/sealed/record-epoch.ts';
import type { PutCondition } from '../../server/store.ts';
import type { Session } from '../session/session.ts';
import {
  type Fork,
  goneError,
  HEAD_AGE_MS_MAX,
  learnMarks,
  openSinceMs,
  readCheckedHead,
  SESSION_SILENT_MS_MAX,
} from './heads.ts';

export interface WrittenHead {
  readonly forks: readonly Fork[];
  /** Errors of the head that was replaced: it was damaged, too old, or gone. */
  readonly problems: readonly NetsealError[];
}

const ATTEMPTS_MAX = 16;

/**
 * Replaces the head by one with the latest marks. ECONFLICT when other processes of this client won the swap
 * too often; EUNSUPPORTED when a newer netseal wrote it, and only that may change it; EKEY when it was sealed
 * after a rekey, and this session was opened before; the store's errors.
 */
export async function writeOwnHead(session: Session): Promise<WrittenHead> {
  const { sealing, state, marks } = session;
  const memory = state.heads;
  memory.renewId(session.nowMs());
  const forks: Fork[] = [];
  const problems = new Map<string, NetsealError>();
  for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt += 1) {
    const { clientId } = memory;
    const [found, storeNowMs] = await Promise.all([readCheckedHead(session, clientId), sealing.store.now()]);
    const problem = problemOf(session, found);
    await requireReplaceable(session, problem);
    if (problem !== undefined) problems.set(problem.message, problem);
    const before = found === undefined || isNetsealError(found.head) ? undefined : found.head;
    if (before !== undefined) {
      requireChangeable('head of this client', before.extensions);
      const ours = { client: clientId, head: before };
      forks.push(...learnMarks(session, ours, new Map()));
    }
    const head = nextHead(session, before, storeNowMs);
    const condition: PutCondition = found === undefined ? { ifAbsent: true } : { ifMatch: found.version };
    try {
      const hash = await putHeadObject(sealing, clientId, head, condition);
      marks.note(clientId, head.version, hash);
      memory.noteWritten(session.nowMs());
      return { forks, problems: [...problems.values()] };
    } catch (error) {
      const code = codeOf(error);
      // After a lost answer the head may be in the store. Writing it once more does no harm.
      if (code !== 'ECONFLICT' && code !== 'EUNCERTAIN') throw error;
    }
  }
  throw new NetsealError('ECONFLICT', `head of this client: lost ${ATTEMPTS_MAX} swaps in a row`);
}

/** Throws the problem of a head whose content would be lost: only others can read it. */
async function requireReplaceable(
  { sealing, state }: Session,
  problem: NetsealError | undefined,
): Promise<void> {
  // A newer netseal of this client wrote it.
  if (problem?.code === 'EUNSUPPORTED') throw problem;
  // It was sealed after a rekey, and this session lacks the key. An epoch that was dropped is lost in any
  // case.
  if (problem?.code !== 'EKEY') return;
  const epoch = await recordEpoch(sealing, HEAD_PREFIX + state.heads.clientId);
  if (epoch > sealing.control.newestEpoch) throw problem;
}

function problemOf(
  { state, marks, nowMs }: Session,
  found: HeadObject | undefined,
): NetsealError | undefined {
  if (found !== undefined) return isNetsealError(found.head) ? found.head : undefined;
  const { clientId, writtenAtMs = 0, isEphemeral } = state.heads;
  const isExpected =
    !isEphemeral && marks.get(clientId) !== undefined && nowMs() - writtenAtMs < HEAD_AGE_MS_MAX;
  return isExpected ? goneError(clientId) : undefined;
}

function nextHead(session: Session, before: Head | undefined, storeNowMs: number): Head {
  const { marks, state } = session;
  const known = Math.max(before?.version ?? 0, marks.get(state.heads.clientId)?.version ?? 0);
  return {
    isEphemeral: state.heads.isEphemeral,
    version: known + 1,
    writtenAtMs: Math.max(0, Math.trunc(storeNowMs)),
    sessions: nextSessions(session, before, storeNowMs),
    marks: nextMarks(session),
    ...(before?.extensions === undefined ? {} : { extensions: before.extensions }),
  };
}

/** Returns the entries of other processes that were not silent for too long, and our own. */
function nextSessions(session: Session, before: Head | undefined, storeNowMs: number): OpenSession[] {
  const { id } = session;
  const alive = (before?.sessions ?? [])
    .filter(({ id: other, seenAtMs }) => other !== id && storeNowMs - seenAtMs <= SESSION_SILENT_MS_MAX)
    .map(other => redated(other, storeNowMs));
  const oldestOpenMs = openSinceMs(session, storeNowMs);
  if (oldestOpenMs !== undefined) {
    alive.push({ id, seenAtMs: Math.max(0, Math.trunc(storeNowMs)), oldestOpenMs });
  }
  // If there are too many, those with the oldest open files stay: gc asks for the oldest only.
  return alive.sort((left, right) => left.oldestOpenMs - right.oldestOpenMs).slice(0, HEAD_SESSIONS_MAX);
}

/** Returns the latest marks, without those of heads: other clients see heads by listing them. */
function nextMarks({ marks, state }: Session): HeadMark[] {
  const heads = new Set<Id>([state.heads.clientId, ...state.heads.heads.keys()]);
  return marks.latest(HEAD_MARKS_MAX, heads).map(([id, { version, hash }]) => ({ id, version, hash }));
}

/**
 * Returns the entry, with the present time in place of one in the future, which a clock that was ahead has
 * given. With a future time, a dead session would count as living until then. A living one writes its entry
 * again by itself.
 */
function redated(session: OpenSession, storeNowMs: number): OpenSession {
  const latestMs = Math.max(0, Math.trunc(storeNowMs));
  if (session.seenAtMs <= latestMs + SESSION_SILENT_MS_MAX) return session;
  return {
    ...session,
    seenAtMs: latestMs,
    oldestOpenMs: session.oldestOpenMs > latestMs ? 0 : session.oldestOpenMs,
  };
}
