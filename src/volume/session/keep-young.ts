/**
 * Keeps a gc from deleting objects that a commit is about to refer to. A gc deletes nothing that is younger
 * than the grace. So these objects must be younger than that when the commit becomes visible:
 *
 *   just before   rewrite the objects that were written more than half the grace ago; then check that no gc
 *                 has ordered their deletion
 *   just after    if that check was more than a quarter of the grace ago, check all objects again
 */
import { codeOf, isNetsealError } from '../../base/errors.ts';
import type { Id } from '../../base/ids.ts';
import { inodeKey, segmentKey } from '../../server/sealed/object-keys.ts';
import { type Referred, requireKept, takenError } from './gc-orders.ts';
import type { Session } from './session.ts';

const REWRITES_MAX = 8;
/** An object's time may be later than the store's clock by so much. */
const CLOCK_MS_MAX: number = 60 * 60 * 1000;

/** The objects that the attempts of one commit rely on. */
export class Reliance implements Referred {
  readonly segments: Set<Id> = new Set<Id>();
  readonly inodes: Set<Id> = new Set<Id>();
  #checkedAtMs: number | undefined;

  /** When the objects were checked first, by the session's clock. */
  get checkedAtMs(): number | undefined {
    return this.#checkedAtMs;
  }

  add(checkedAtMs: number, { segments, inodes }: Referred): void {
    this.#checkedAtMs ??= checkedAtMs;
    for (const id of segments) this.segments.add(id);
    for (const id of inodes) this.inodes.add(id);
  }
}

/**
 * Rewrites old objects before a commit; call it once the commit's segments are in the store. EIO when a gc
 * was quicker: then nothing may be committed.
 */
export async function keepYoung(session: Session, referred: Referred, reliance: Reliance): Promise<void> {
  const checkedAtMs = session.nowMs();
  const isOld = (atMs: number | undefined): boolean =>
    atMs !== undefined && checkedAtMs - atMs > session.graceMs / 2;
  const segments: Id[] = [];
  for (const id of referred.segments) if (isOld(await segmentTime(session, id))) segments.push(id);
  const inodes: Id[] = [];
  for (const id of referred.inodes) if (isOld(await inodeTime(session, id))) inodes.push(id);
  for (const id of segments) await rewriteSegment(session, id);
  for (const id of inodes) await rewriteInode(session, id);
  await requireKept(session.sealing, { segments, inodes });
  reliance.add(checkedAtMs, referred);
}

/** Checks the objects again after a commit that took long. EIO when a gc may have deleted one. */
export async function requireStillKept(session: Session, reliance: Reliance): Promise<void> {
  const { checkedAtMs } = reliance;
  if (checkedAtMs === undefined || session.nowMs() - checkedAtMs <= session.graceMs / 4) return;
  await requireKept(session.sealing, reliance);
}

/**
 * Rewrites the segments among these that were written more than a quarter of the grace ago. So gc never finds
 * a segment old that waits long for its commit. Segments that are not in the store yet are left alone.
 *
 * Rejects with EIO when a gc was quicker; with what the store throws. The other segments are rewritten then.
 */
export async function renewSegments(session: Session, segments: Iterable<Id>): Promise<void> {
  const { dataSegments, nodeSegments, graceMs, nowMs } = session;
  const failures: unknown[] = [];
  for (const id of segments) {
    if (dataSegments.isUnstored(id) || nodeSegments.isUnstored(id)) continue;
    try {
      if (nowMs() - (await segmentTime(session, id)) > graceMs / 4) await rewriteSegment(session, id);
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}

/** Returns when a segment was written, by the session's clock. */
async function segmentTime(session: Session, id: Id): Promise<number> {
  const { dataSegments, nodeSegments, writes, nowMs } = session;
  const ageMs = dataSegments.ageMs(id) ?? nodeSegments.ageMs(id);
  const known = ageMs === undefined ? writes.get(id) : nowMs() - ageMs;
  return known ?? (await storedTime(session, id, segmentKey(id)));
}

/**
 * Returns when an inode object was written, by the session's clock. Undefined when another session wrote it.
 * Such an object need not be kept young for this commit, because an entry leads to it already.
 */
async function inodeTime(session: Session, id: Id): Promise<number | undefined> {
  const known = session.writes.get(id);
  if (known !== undefined || !session.writes.hasForgotten) return known;
  return await storedTime(session, id, inodeKey(id));
}

/** Asks the store when an object was written. For objects whose time this session does not remember. */
async function storedTime(session: Session, id: Id, key: string): Promise<number> {
  const { sealing, writes, nowMs, graceMs } = session;
  const storeNowMs = await sealing.store.now();
  const { modifiedAtMs } = await sealing.store.stat(key).catch(throwTaken);
  const ageMs = storeNowMs - modifiedAtMs;
  // If its time lies in the future, its age is unknown: it counts as old.
  const atMs = nowMs() - (ageMs < -CLOCK_MS_MAX ? graceMs : Math.max(0, ageMs));
  writes.note(id, atMs);
  return atMs;
}

async function rewriteSegment(session: Session, id: Id): Promise<void> {
  const { dataSegments, nodeSegments, writes, nowMs } = session;
  const atMs = nowMs();
  const writer = dataSegments.ageMs(id) === undefined ? nodeSegments : dataSegments;
  await writer.refresh(id).catch(throwTaken);
  writes.note(id, atMs);
}

/** Puts the same bytes again: the object gets a new version, the inode keeps its own. */
async function rewriteInode(session: Session, id: Id): Promise<void> {
  const { store } = session.sealing;
  for (let attempt = 1; ; attempt += 1) {
    const atMs = session.nowMs();
    const { bytes, version } = await store.get(inodeKey(id)).catch(throwTaken);
    try {
      await store.put(inodeKey(id), [bytes], { condition: { ifMatch: version } });
      session.writes.note(id, atMs);
      return;
    } catch (error) {
      const code = codeOf(error);
      if ((code !== 'ECONFLICT' && code !== 'EUNCERTAIN') || attempt === REWRITES_MAX) throw error;
    }
  }
}

function throwTaken(error: unknown): never {
  if (isNetsealError(error) && error.code === 'EMISSING') throw takenError(error.message, error);
  throw error;
}
