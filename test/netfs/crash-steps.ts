/**
 * What a writer that is going to be killed does to its files, what it says of it, and what that makes possible
 * for them afterwards. Imports nothing of the project.
 */
import { type Change, changed, whyNotEqual } from './file-model.ts';
import { patternOf } from './pattern.ts';

/** A request to the store, counted from 1. */
export interface KillPoint {
  readonly request: number;
  readonly when: 'before' | 'after';
}

/** How the local cache is made, small enough to be full soon. */
export const CACHE_SETTINGS = {
  budgetBytes: 4_194_304,
  zoneBytes: 131_072,
  disk: false,
  maintenanceMs: 0,
} as const;

/** Orders for a writer. */
export interface CrashPlan {
  readonly storeFolder: string;
  readonly headerPath: string;
  /** The writer's local cache, which outlives it. */
  readonly cacheFolder: string;
  /** All bytes of the raw key. */
  readonly keyByte: number;
  readonly files: readonly string[];
  readonly seed: number;
  /** The number of the first write, so that no two rounds write the same. */
  readonly firstWrite: number;
  /** The request to the store at which the writer kills itself; absent when somebody else kills it. */
  readonly kill?: KillPoint | undefined;
}

/** A change by its numbers. Patterns follow from them. */
export type CrashChange =
  | {
      readonly kind: 'write';
      readonly write: number;
      readonly offsetBytes: number;
      readonly lengthBytes: number;
    }
  | { readonly kind: 'truncate'; readonly sizeBytes: number };

/** One line of what a writer says: before it begins something, and when that is done. */
export type CrashLine =
  | { readonly at: 'begin'; readonly file: number; readonly change: CrashChange }
  | { readonly at: 'done'; readonly file: number }
  | { readonly at: 'sync'; readonly file: number }
  | { readonly at: 'synced'; readonly file: number };

export function changeOf(change: CrashChange): Change {
  if (change.kind === 'truncate') return change;
  const { write, offsetBytes, lengthBytes } = change;
  return { kind: 'write', offsetBytes, bytes: patternOf(write, offsetBytes, lengthBytes) };
}

/** What one file can be after its writer was killed. Its changes came one after the other. */
export class CrashedFile {
  /** What the file was when it was synced last, and after each change since. */
  #states: Uint8Array[];
  /** What led from each state to the next. */
  #changes: CrashChange[] = [];
  #begun: CrashChange | undefined;
  /** How many states there were when the sync under way began. */
  #syncedFrom = 0;
  /** The highest number of a write. */
  lastWrite = 0;

  constructor(content: Uint8Array) {
    this.#states = [content];
  }

  tell(line: CrashLine): void {
    if (line.at === 'begin') {
      this.#begun = line.change;
      if (line.change.kind === 'write') this.lastWrite = Math.max(this.lastWrite, line.change.write);
    } else if (line.at === 'done') {
      if (this.#begun === undefined) throw new Error('a change is done that was not begun');
      this.#states.push(changed(this.#latest, changeOf(this.#begun)));
      this.#changes.push(this.#begun);
      this.#begun = undefined;
    } else if (line.at === 'sync') {
      this.#syncedFrom = this.#states.length - 1;
    } else {
      this.#states.splice(0, this.#syncedFrom);
      this.#changes.splice(0, this.#syncedFrom);
      this.#syncedFrom = 0;
    }
  }

  get #latest(): Uint8Array {
    return this.#states.at(-1) ?? new Uint8Array();
  }

  /** Whether something had been written that was not synced. */
  get hadUnsynced(): boolean {
    return this.#states.length > 1 || this.#begun !== undefined;
  }

  /** Whether `content` is newer than the last sync, so that the crash has cost less than it might. */
  isNewerThanSync(content: Uint8Array): boolean {
    return Buffer.compare(content, this.#states[0] ?? content) !== 0;
  }

  /** Returns why a file cannot hold `content` after the crash; undefined when it can. */
  whyNot(content: Uint8Array): string | undefined {
    const reasons = this.#states.map(state => whyNotEqual(content, state));
    if (reasons.includes(undefined)) return undefined;
    const changes = this.#begun === undefined ? this.#changes : [...this.#changes, this.#begun];
    // A write may be cut by a commit that came in the middle of it. More was written since, and lost.
    const isCut = changes.some((change, at) => {
      const state = this.#states[at];
      return state !== undefined && isWithPartOf(content, state, changeOf(change));
    });
    if (isCut) return undefined;
    return `${reasons.at(-1)} (and so for ${reasons.length} states)`;
  }
}

/** Whether `content` is this state with all of a change, or with the beginning of a write. */
function isWithPartOf(content: Uint8Array, state: Uint8Array, change: Change): boolean {
  if (whyNotEqual(content, changed(state, change)) === undefined) return true;
  if (change.kind !== 'write') return false;
  const { offsetBytes, bytes } = change;
  let low = 0;
  for (let high = bytes.byteLength; low < high; ) {
    const middle = Math.ceil((low + high) / 2);
    const part = bytes.subarray(0, middle);
    if (Buffer.compare(content.subarray(offsetBytes, offsetBytes + middle), part) === 0) low = middle;
    else high = middle - 1;
  }
  const part: Change = { kind: 'write', offsetBytes, bytes: bytes.subarray(0, low) };
  return low > 0 && whyNotEqual(content, changed(state, part)) === undefined;
}
