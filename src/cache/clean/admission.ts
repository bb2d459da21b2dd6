/**
 * Admits writes: makes room for them within the budget, and within what the disk may be filled to.
 *
 * The disk has three limits, in percent of free blocks and files. Below `cull`, zones are given up until both are at
 * `run`. Below `stop`, room is taken only in place of zones that were just given up.
 */
import type { DiskSpace } from '../base/files.ts';
import type { DiskLimits } from '../base/settings.ts';
import type { CacheContext } from '../rows/cache-context.ts';
import type { Zones } from '../zones/zones.ts';
import type { Reclaim } from './reclaim.ts';

/** The disk is looked at this often, at most. */
const LOOK_MS = 1000;
/** Zones given up in one go: who waits for room does not wait for long. */
const STEPS_MAX = 8;
/** The same for a budget that is exceeded by far, as it may be after it was made smaller: what comes meanwhile is dropped. */
const BUDGET_STEPS_MAX = 32;
/** Of the budget, what may be on its way into zones at a time. */
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
  /** What zones took at that version, those that are open counted as full. */
  #checkedBytes = 0;
  /** Let in, and not written yet. */
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
   * True when so many bytes may be written, at most a zone's or one unit: then {@link leave} is to be called when that is over.
   * Waits while zones are given up for them, and while others write too much already. Never rejects: false after an abort.
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

  leave(bytes: number): void {
    this.#enteredBytes -= bytes;
    this.#onLeave?.();
  }

  /** Without looking at all the zones again, and without overtaking anybody. */
  #isRoomFor(bytes: number): boolean {
    return (
      this.#waiting === 0 &&
      this.#zones.version === this.#checkedVersion &&
      !this.#isLookDue() &&
      !this.#isOver(this.#checkedBytes, bytes)
    );
  }

  /** Nobody who was let in needs the lock to get on. */
  async #waitForOthers(bytes: number): Promise<void> {
    const bytesMax = this.#context.settings.budgetBytes * ENTERED_PART_MAX;
    while (this.#enteredBytes > 0 && this.#enteredBytes + bytes > bytesMax) {
      await new Promise<void>(resolve => {
        this.#onLeave = resolve;
      });
    }
  }

  /** Looks at the disk and the budget, and gives up what is too much; for now and then. */
  async maintain(): Promise<void> {
    await this.#exclusively(() => this.#make(0));
  }

  /** Gives up one zone, whatever was hit: the disk is full. */
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

  /** What is there, what is on its way, and one zone more. */
  #isOver(cleanBytes: number, bytes: number): boolean {
    const { budgetBytes, zoneBytes } = this.#context.settings;
    return cleanBytes + this.#enteredBytes + Math.max(bytes, zoneBytes) > budgetBytes;
  }

  /** False when there must not be another zone. */
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

  #mustCull(disk: DiskLimits): boolean {
    if (this.#isCulling) this.#isCulling = this.#isBelow(disk.runPercent);
    else this.#isCulling = this.#isBelow(disk.cullPercent);
    return this.#isCulling;
  }

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
    // A clock that was set back is no reason to stop looking.
    return sinceMs >= LOOK_MS || sinceMs < 0;
  }

  async #look(): Promise<void> {
    this.#lookedAtMs = this.#context.nowMs();
    this.#space = await this.#context.files.space().catch(() => undefined);
  }
}
