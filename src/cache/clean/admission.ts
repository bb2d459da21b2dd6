/**
 * Admits writes to the cache: makes room for them within the budget, and keeps free what others need of the
 * disk.
 *
 *   enter(bytes) ──room without a look──────────────────────────────▶ true ──write──▶ leave(bytes)
 *       └─▶ in a queue, one at a time ──zones are given up──▶ room ──┘
 *                                                 └─ no room ─▶ false
 *
 * The disk has three limits, in percent of its blocks and files that are free. Below `cull`, zones are given
 * up until both are at `run`. Below `stop`, a zone is written only in place of one that was just given up.
 */
import type { DiskSpace } from '../base/files.ts';
import type { DiskLimits } from '../base/settings.ts';
import type { CacheContext } from '../rows/cache-context.ts';
import type { Zones } from '../zones/zones.ts';
import type { Reclaim } from './reclaim.ts';

/** The shortest time between two looks at the disk. */
const LOOK_MS = 1000;
/** The most zones given up for the disk's limits before one write, so that the write does not wait long. */
const STEPS_MAX = 8;
/**
 * The most zones given up for the budget before one write. After the budget was made much smaller, that is
 * not enough; then what comes is dropped until it is.
 */
const BUDGET_STEPS_MAX = 32;
/** The part of the budget that may be admitted and not yet written. */
const ENTERED_PART_MAX = 1 / 8;

export class Admission {
  readonly #context: CacheContext;
  readonly #zones: Zones;
  readonly #reclaim: Reclaim;
  #lock: Promise<unknown> = Promise.resolve();
  #lookedAtMs: number | undefined;
  #space: DiskSpace | undefined;
  #isCulling = false;
  #checkedVersion = -1;
  /** The bytes that zones took at `#checkedVersion` of them. Open zones count as full. */
  #checkedBytes = 0;
  /** Bytes that were admitted and are not written yet. */
  #enteredBytes = 0;
  #waiting = 0;
  #onLeave: (() => void) | undefined;

  constructor(context: CacheContext, zones: Zones, reclaim: Reclaim) {
    this.#context = context;
    this.#zones = zones;
    this.#reclaim = reclaim;
  }

  get isCulling(): boolean {
    return this.#isCulling;
  }

  /**
   * Resolves with true when `bytes` may be written; the caller calls {@link leave} when they are. False when
   * there is no room, and after an abort. Never rejects.
   *
   * Waits while zones are given up, and while too much is admitted already.
   *
   * @param bytes at most the length of a zone, or one unit.
   */
  async enter(bytes: number, signal?: AbortSignal): Promise<boolean> {
    if (this.#isRoomFor(bytes)) {
      this.#enteredBytes += bytes;
      return true;
    }
    this.#waiting += 1;
    return this.#exclusively(async () => {
      try {
        await this.#waitForOthers(bytes);
        const isRoom = signal?.aborted !== true && (await this.#make(bytes));
        if (isRoom) this.#enteredBytes += bytes;
        return isRoom;
      } finally {
        this.#waiting -= 1;
      }
    });
  }

  /** Tells that bytes that were admitted are written, or will not be. */
  leave(bytes: number): void {
    this.#enteredBytes -= bytes;
    this.#onLeave?.();
  }

  /**
   * True when there is certainly room. Takes no look at zones or disk, so it may be false for no reason.
   * Always false while others wait, so that nobody overtakes them.
   */
  #isRoomFor(bytes: number): boolean {
    return (
      this.#waiting === 0 &&
      this.#zones.version === this.#checkedVersion &&
      !this.#isLookDue() &&
      !this.#isOver(this.#checkedBytes, bytes)
    );
  }

  /**
   * Waits until enough was written of what is admitted. Writes that are admitted never wait for this lock.
   */
  async #waitForOthers(bytes: number): Promise<void> {
    const bytesMax = this.#context.settings.budgetBytes * ENTERED_PART_MAX;
    while (this.#enteredBytes > 0 && this.#enteredBytes + bytes > bytesMax) {
      await new Promise<void>(resolve => {
        this.#onLeave = resolve;
      });
    }
  }

  /** Gives up zones when the budget or a limit of the disk is exceeded. Called once a second. */
  async maintain(): Promise<void> {
    await this.#exclusively(() => this.#make(0));
  }

  /**
   * Gives up one zone, also what was hit in it, because the disk is full. False as for {@link Reclaim.step}.
   */
  async giveUpOne(): Promise<boolean> {
    return this.#exclusively(() => this.#reclaim.step(false));
  }

  async idle(): Promise<void> {
    await this.#lock;
  }

  #exclusively<Result>(action: () => Promise<Result>): Promise<Result> {
    const result = this.#lock.then(action);
    this.#lock = result.catch(() => undefined);
    return result;
  }

  /** Gives up zones until there is room for `bytes`. False when there is none. */
  async #make(bytes: number): Promise<boolean> {
    if (this.#isLookDue()) await this.#look();
    let steps = 0;
    const { zoneBytes } = this.#context.settings;
    while (this.#isOver(this.#zones.cleanBytes(zoneBytes), bytes)) {
      steps += 1;
      if (steps > BUDGET_STEPS_MAX) return false;
      if (!(await this.#reclaim.step(steps <= 2 * STEPS_MAX))) return false;
    }
    if (!(await this.#cull())) return false;
    this.#checkedVersion = this.#zones.version;
    this.#checkedBytes = this.#zones.cleanBytes(zoneBytes);
    return true;
  }

  /** True when zones, what is admitted, and one zone more would exceed the budget. */
  #isOver(cleanBytes: number, bytes: number): boolean {
    const { budgetBytes, zoneBytes } = this.#context.settings;
    return cleanBytes + this.#enteredBytes + Math.max(bytes, zoneBytes) > budgetBytes;
  }

  /** Gives up zones for the disk's limits. False when no zone may be added. */
  async #cull(): Promise<boolean> {
    const { disk } = this.#context.settings;
    if (disk === false || this.#space === undefined) return true;
    let hasGivenUp = false;
    for (let steps = 0; steps < STEPS_MAX && this.#mustCull(disk); steps += 1) {
      if (!(await this.#reclaim.step(false))) break;
      hasGivenUp = true;
      await this.#look();
    }
    return hasGivenUp || !this.#isBelow(disk.stopPercent);
  }

  /** True from the moment a resource falls below `cull` until both are at `run`. */
  #mustCull(disk: DiskLimits): boolean {
    if (this.#isCulling) this.#isCulling = this.#isBelow(disk.runPercent);
    else this.#isCulling = this.#isBelow(disk.cullPercent);
    return this.#isCulling;
  }

  /** True when the disk has fewer free blocks or files than this part of all. */
  #isBelow(percent: number): boolean {
    const space = this.#space;
    if (space === undefined) return false;
    const { blockCount, blocksAvailable, fileCount, filesAvailable } = space;
    return (
      blocksAvailable * 100 < percent * blockCount ||
      (fileCount > 0 && filesAvailable * 100 < percent * fileCount)
    );
  }

  #isLookDue(): boolean {
    if (this.#context.settings.disk === false) return false;
    const sinceMs = this.#context.nowMs() - (this.#lookedAtMs ?? Number.NEGATIVE_INFINITY);
    // Negative after the clock was set back: that must not stop the looks.
    return sinceMs >= LOOK_MS || sinceMs < 0;
  }

  async #look(): Promise<void> {
    this.#lookedAtMs = this.#context.nowMs();
    this.#space = await this.#context.files.space().catch(() => undefined);
  }
}
