/**
 * Heads of clients that keep no state: a job that runs once, in a new container, leaves one that nobody will
 * write again. Each fresh client would have to read all of them, for 90 days. So gc takes over their marks:
 *
 *   1. Finds the ephemeral heads that were written more than a day ago.
 *   2. Counts their marks as its newest, and writes its own head with them.
 *   3. Deletes them.
 *
 * A head with an extension that forbids changes stays as long as ordinary heads do. Any other unknown
 * extension is ignored.
 *
 * At any time some head tells each mark: the old head is deleted only after the new one was acknowledged. A
 * client that keeps no state takes a new id when its head was not written for half a day (head-memory.ts), so
 * no head is deleted that is about to be written again.
 */
import { isNetsealError } from '../../base/errors.ts';
import type { Id } from '../../base/ids.ts';
import { forbidsChange } from '../../server/sealed/extensions.ts';
import { HEAD_MARKS_MAX, type Head } from '../../server/sealed/head-format.ts';
import { HEAD_PREFIX } from '../../server/sealed/object-keys.ts';
import type { Session } from '../session/session.ts';
import { eachOf, type HeadCare, type ListedHead, listHeads, readCheckedHead } from './heads.ts';
import { writeOwnHead } from './own-head.ts';

/** An ephemeral head stays for so long after it was written. */
export const EPHEMERAL_AGE_MS_MAX: number = 24 * 60 * 60 * 1000;
const READS_MAX = 64;

/** A head to delete, and the ids that its marks are about. */
interface OldHead {
  readonly client: Id;
  readonly ids: readonly Id[];
}

/**
 * Takes over the marks of old ephemeral heads, as many as one head holds, and deletes those heads. Call it
 * after a merge: heads that this client has not merged stay. Nothing is deleted when our own head cannot be
 * written. Returns the clients whose heads are gone. Errors: the store's in listing and reading.
 *
 * @param drop deletes an object; resolves to false when it cannot be.
 */
export async function takeEphemeralHeads(
  session: Session,
  drop: (key: string) => Promise<boolean>,
  { attempt, signal }: HeadCare,
): Promise<readonly Id[]> {
  const { heads: memory } = session.state;
  const ids = new Set<Id>();
  const old: OldHead[] = [];
  for (const head of await readOld(session, signal)) {
    const newIds = head.ids.filter(id => !ids.has(id));
    // The others have their turn in a later pass.
    if (ids.size + newIds.length > HEAD_MARKS_MAX) break;
    for (const id of newIds) ids.add(id);
    old.push(head);
  }
  if (old.length === 0) return [];
  session.marks.renew(ids);
  const isTold = await attempt(HEAD_PREFIX + memory.clientId, async () => {
    const { forks } = await writeOwnHead(session);
    if (forks[0] !== undefined) throw forks[0].error;
  });
  if (!isTold) return [];
  const taken: Id[] = [];
  await eachOf(old, async ({ client }) => {
    if (!(await drop(HEAD_PREFIX + client))) return;
    memory.forget(client);
    taken.push(client);
  });
  return taken;
}

/** Reads the old ephemeral heads, oldest first, until there are enough marks for one head. */
async function readOld(session: Session, signal: AbortSignal | undefined): Promise<OldHead[]> {
  const { store } = session.sealing;
  const [listed, storeNowMs] = await Promise.all([listHeads(store, signal), store.now({ signal })]);
  const nowMs = Math.min(storeNowMs, session.nowMs());
  const candidates = listed.filter(head => isOld(session, head, nowMs)).reverse();
  const old: OldHead[] = [];
  let markCount = 0;
  for (let at = 0; at < candidates.length && markCount <= HEAD_MARKS_MAX; at += READS_MAX) {
    const read = new Map<Id, Head>();
    const batch = candidates.slice(at, at + READS_MAX);
    await eachOf(batch, async ({ client }) => {
      const head = (await readCheckedHead(session, client, signal))?.head;
      if (head === undefined || isNetsealError(head) || !head.isEphemeral) return;
      // Deleting a head changes it, so an extension may forbid that. Extensions that may be ignored go with
      // it.
      if (forbidsChange(head.extensions) === undefined) read.set(client, head);
    });
    for (const { client } of batch) {
      const head = read.get(client);
      if (head === undefined) continue;
      old.push({ client, ids: head.marks.map(({ id }) => id) });
      markCount += head.marks.length;
    }
  }
  return old;
}

/** True for a head that was merged as it is, is ephemeral, and was written more than a day ago. */
function isOld({ state }: Session, { client, version, modifiedAtMs }: ListedHead, nowMs: number): boolean {
  const known = state.heads.heads.get(client);
  return (
    known?.isEphemeral === true && known.version === version && nowMs - modifiedAtMs > EPHEMERAL_AGE_MS_MAX
  );
}
