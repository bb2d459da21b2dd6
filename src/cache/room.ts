/**
 * Room for what comes: within the budget, and within what the disk may be filled to. Below `cull` percent of free blocks or files,
 * regions are given up until both are at `run`; below `stop` new room is taken only for what was given up before.
 */
import type { CacheFiles, DiskSpace } from './files.ts';
import type { Reclaim } from './reclaim.ts';
import type { Regions } from './regions.ts';
import type { CheckedSettings, DiskLimits } from './settings.ts';

/** The disk is looked at this often, at most. */
const LOOK_MS = 1000;
/** Regions given up in one go: who waits for room does not wait for long. */
const STEPS_MAX = 8;
/** The same for a budget that is exceeded by far, as it may be after it was made smaller: what comes meanwhile is dropped. */
const BUDGET_STEPS_MAX = 32;

export class Room {
  readonly #settings: CheckedSettings;
  readonly #files: CacheFiles;
  readonly #regions: Regions;
  readonly #reclaim: Reclaim;
  readonly #nowMs: () => number;
  #lock: Promise<unknown> = Promise.resolve();
  #lookedAtMs: number | undefined;
  #space: DiskSpace | undefined;
  #isCulling = false;
  #checkedVersion = -1;

  constructor(
    settings: CheckedSettings,
    files: CacheFiles,
    regions: Regions,
    reclaim: Reclaim,
    nowMs: () => number,
  ) {
    this.#settings = settings;
    this.#files = files;
    this.#regions = regions;
    this.#reclaim = reclaim;
    this.#nowMs = nowMs;
  }

  get isCulling(): boolean {
    return this.#isCulling;
  }

  /** True when there is room for another region, or nothing has changed since there was. Never rejects. */
  ensure(): Promise<boolean> {
    if (this.#regions.version === this.#checkedVersion && !this.#isLookDue()) return Promise.resolve(true);
    return this.#exclusively(() => this.#make());
  }

  /** Looks at the disk and the budget, and gives up what is too much; for now and then. */
  async maintain(): Promise<void> {
    await this.#exclusively(() => this.#make());
  }

  /** Gives up one region, whatever was hit: the disk is full. */
  async giveUpOne(): Promise<boolean> {
    return this.#exclusively(() => this.#reclaim.step(false));
  }

  #exclusively<Result>(action: () => Promise<Result>): Promise<Result> {
    const result = this.#lock.then(action);
    this.#lock = result.catch(() => undefined);
    return result;
  }

  async #make(): Promise<boolean> {
    if (this.#isLookDue()) await this.#look();
    let steps = 0;
    while (this.#isOverBudget()) {
      steps += 1;
      if (steps > BUDGET_STEPS_MAX) return false;
      if (!(await this.#reclaim.step(steps <= 2 * STEPS_MAX))) return false;
    }
    if (!(await this.#cull())) return false;
    this.#checkedVersion = this.#regions.version;
    return true;
  }

  /** What is there and one region more. */
  #isOverBudget(): boolean {
    const { budgetBytes, regionBytes } = this.#settings;
    return this.#regions.cleanBytes(regionBytes) + regionBytes > budgetBytes;
  }

  /** False when there must not be another region. */
  async #cull(): Promise<boolean> {
    const { disk } = this.#settings;
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
    if (this.#settings.disk === false) return false;
    const sinceMs = this.#nowMs() - (this.#lookedAtMs ?? Number.NEGATIVE_INFINITY);
    // A clock that was set back is no reason to stop looking.
    return sinceMs >= LOOK_MS || sinceMs < 0;
  }

  async #look(): Promise<void> {
    this.#lookedAtMs = this.#nowMs();
    this.#space = await this.#files.space().catch(() => undefined);
  }
}
