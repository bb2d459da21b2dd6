/**
 * The segments whose records wait for a commit. A gc takes a segment that nothing refers to for garbage once
 * it is a grace old. So a pending segment is rewritten, byte for byte, whenever it is a quarter of the grace
 * old.
 *
 * netfs does not say which records it has given up; it drops their receipts. So each receipt holds a claim on
 * its segment. A segment is pending until
 * all of its receipts are committed, or were garbage-collected together with the claim.
 */
import { bestEffort } from '../../base/best-effort.ts';
import type { Id } from '../../base/ids.ts';
import { renewSegments } from '../session/keep-young.ts';
import type { Session } from '../session/session.ts';
import type { SealedReceipt, SegmentClaim } from './receipts.ts';

/** How often segments are looked at, as a part of the grace; within the bounds below. */
const LOOKS_PER_GRACE = 24;
const PERIOD_MS_MIN = 1000;
const PERIOD_MS_MAX: number = 60 * 60 * 1000;

export class PendingSegments {
  readonly #session: Session;
  readonly #claims = new Map<Id, WeakRef<SegmentClaim>>();
  #timer: NodeJS.Timeout | undefined;
  #renewing: Promise<void> | undefined;
  #isClosed = false;

  constructor(session: Session) {
    this.#session = session;
  }

  /** Returns the claim for one more receipt of a segment. */
  claim(segment: Id): SegmentClaim {
    let claim = this.#claims.get(segment)?.deref();
    if (claim === undefined) {
      claim = { segment, pendingCount: 0 };
      this.#claims.set(segment, new WeakRef(claim));
    }
    claim.pendingCount += 1;
    if (!this.#isClosed) {
      this.#timer ??= setInterval(() => void bestEffort(this.renew()), this.#periodMs()).unref();
    }
    return claim;
  }

  /** Notes that receipts were committed. */
  committed(receipts: Iterable<SealedReceipt>): void {
    for (const receipt of receipts) {
      if (receipt.isCommitted || receipt.claim === undefined) continue;
      receipt.isCommitted = true;
      receipt.claim.pendingCount -= 1;
      if (receipt.claim.pendingCount === 0) this.#claims.delete(receipt.claim.segment);
    }
  }

  /** The segments with records that may still be committed. */
  get segments(): Id[] {
    for (const [segment, claim] of this.#claims)
      if (claim.deref() === undefined) this.#claims.delete(segment);
    return [...this.#claims.keys()];
  }

  /**
   * Writes pending segments anew that are old. A timer calls it. Rejects as {@link renewSegments} does; the
   * next call tries again.
   */
  async renew(): Promise<void> {
    this.#renewing ??= this.#renew().finally(() => {
      this.#renewing = undefined;
    });
    await this.#renewing;
  }

  async #renew(): Promise<void> {
    const { segments } = this;
    if (segments.length === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
    await renewSegments(this.#session, segments);
  }

  /** Ends the timer. Waits for what it has begun. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#timer);
    this.#timer = undefined;
    if (this.#renewing !== undefined) await bestEffort(this.#renewing);
  }

  #periodMs(): number {
    return Math.min(PERIOD_MS_MAX, Math.max(PERIOD_MS_MIN, this.#session.graceMs / LOOKS_PER_GRACE));
  }
}
