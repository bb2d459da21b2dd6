/**
 * A plain model of one file: bytes in memory, changed in the order in which the changes were asked for. Imports
 * nothing of the project.
 *
 * Changes come in steps. All changes of one step are under way at once; a step ends before the next begins.
 * So while a step is under way, a read may see each of its changes or not, byte by byte. What is in the store
 * is what the file was after some step, no older than the last sync; if the store was asked in the middle of a
 * step, then anything in between.
 */
import { describeAt } from './pattern.ts';

export type Change =
  | { readonly kind: 'write'; readonly offsetBytes: number; readonly bytes: Uint8Array }
  | { readonly kind: 'append'; readonly bytes: Uint8Array }
  | { readonly kind: 'truncate'; readonly sizeBytes: number };

/** A change that puts bytes somewhere. */
export type WritingChange = Extract<Change, { readonly bytes: Uint8Array }>;

/** Returns what a file holds after a change. */
export function changed(content: Uint8Array, change: Change): Uint8Array {
  if (change.kind === 'truncate') return resized(content, change.sizeBytes);
  const offsetBytes = change.kind === 'append' ? content.byteLength : change.offsetBytes;
  if (change.bytes.byteLength === 0) return content;
  const end = offsetBytes + change.bytes.byteLength;
  const next = resized(content, Math.max(end, content.byteLength));
  next.set(change.bytes, offsetBytes);
  return next;
}

function resized(content: Uint8Array, sizeBytes: number): Uint8Array {
  const next = new Uint8Array(sizeBytes);
  next.set(content.subarray(0, sizeBytes));
  return next;
}

/**
 * Changes that are under way at once. Writes to a place happen in the order in which they were asked for. Only
 * the server of an append or a truncate knows when it gets to it, so a step with one of those may have any order.
 */
export class Step {
  readonly before: Uint8Array;
  /** What was asked for, and what has become of it: undefined when nothing has. */
  readonly #asked: Change[] = [];
  readonly #settled: (Change | undefined)[] = [];
  readonly #doubts: number[] = [];
  #knownViews: readonly Uint8Array[] | undefined;
  after: Uint8Array;

  constructor(before: Uint8Array) {
    this.before = before;
    this.after = before;
  }

  /** Adds a change that is asked for now. Returns its number, for {@link settle}. */
  ask(change: Change): number {
    this.#asked.push(change);
    this.#settled.push(change);
    this.after = allChanged(this.before, this.#settled);
    this.#knownViews = undefined;
    return this.#asked.length - 1;
  }

  /** Says what a change turned out to be: less than was asked for, or nothing. */
  settle(number: number, change: Change | undefined): void {
    this.#settled[number] = change;
    this.after = allChanged(this.before, this.#settled);
  }

  /** Notes that a change failed in a way that leaves open whether it has happened. */
  doubt(number: number): void {
    this.#doubts.push(number);
  }

  /** True when only a look at the file tells what it holds after the step. */
  get isOpen(): boolean {
    return this.#doubts.length > 0 || (this.#asked.length > 1 && !this.#isOrdered);
  }

  /** Finds out, from what the file holds, what has happened. Returns why that cannot be. */
  resolve(content: Uint8Array): string | undefined {
    const doubts = this.#doubts.splice(0);
    const numbers = [...this.#asked.keys()];
    const orders = this.#isOrdered ? [numbers] : ordersOf(numbers);
    for (const happened of subsetsOf(doubts)) {
      // One that a later write lies over may have happened whole, though its bytes seem to end there.
      for (const cut of subsetsOf(happened)) {
        const done = numbers.map(number => {
          if (!doubts.includes(number)) return this.#settled[number];
          return happened.includes(number) ? this.#asked[number] : undefined;
        });
        for (const order of orders) {
          const after = allChanged(this.before, partsIn(content, order, done, cut));
          if (Buffer.compare(after, content) !== 0) continue;
          this.after = after;
          return undefined;
        }
      }
    }
    return whyNotEqual(content, this.after);
  }

  get #isOrdered(): boolean {
    return this.#asked.every(({ kind }) => kind === 'write');
  }

  /** Returns why a read cannot have returned `bytes`; undefined when it can. */
  whyNotRead(offsetBytes: number, askedBytes: number, bytes: Uint8Array): string | undefined {
    const isAfter = Buffer.compare(this.after.subarray(offsetBytes, offsetBytes + askedBytes), bytes) === 0;
    if (isAfter) return undefined;
    const [least = 0, most = 0] = this.#sizes.map(size =>
      Math.min(askedBytes, Math.max(0, size - offsetBytes)),
    );
    const { byteLength } = bytes;
    if (byteLength < least || byteLength > most) return `read ${byteLength} bytes, not ${least} to ${most}`;
    return this.#whyNotBytes(offsetBytes, bytes);
  }

  /** Returns why a store cannot hold `content` during or after this step; undefined when it can. */
  whyNotStored(content: Uint8Array): string | undefined {
    const [only] = this.#asked;
    if (this.#asked.length > 1) {
      const [least = 0, most = 0] = this.#sizes;
      const { byteLength } = content;
      if (byteLength < least || byteLength > most) return `${byteLength} bytes, not ${least} to ${most}`;
      return this.#whyNotBytes(0, content);
    }
    if (Buffer.compare(content, this.before) === 0 || Buffer.compare(content, this.after) === 0)
      return undefined;
    // A large write may be there up to some byte.
    if (only !== undefined && only.kind !== 'truncate') {
      const offsetBytes = only.kind === 'append' ? this.before.byteLength : only.offsetBytes;
      const equal = equalBytes(content, this.after);
      const part = changed(this.before, {
        kind: 'write',
        offsetBytes,
        bytes: only.bytes.subarray(0, Math.max(0, equal - offsetBytes)),
      });
      if (equal > offsetBytes && Buffer.compare(content, part) === 0) return undefined;
    }
    return whyNotEqual(content, this.after);
  }

  /** Everything that a byte, or the size, may be while the step is under way. */
  get #views(): readonly Uint8Array[] {
    if (this.#knownViews === undefined) {
      const orders = subsetsOf(this.#asked).flatMap(some => (this.#isOrdered ? [some] : ordersOf(some)));
      this.#knownViews = orders.map(order => allChanged(this.before, order));
    }
    return this.#knownViews;
  }

  /** The least and the most that the size may be while the step is under way: it grows with each byte. */
  get #sizes(): readonly number[] {
    const sizes = this.#views.map(view => view.byteLength);
    return [Math.min(...sizes), Math.max(...sizes)];
  }

  #whyNotBytes(offsetBytes: number, bytes: Uint8Array): string | undefined {
    for (let at = 0; at < bytes.byteLength; at += 1) {
      const place = offsetBytes + at;
      if (this.#views.some(view => (view[place] ?? 0) === bytes[at])) continue;
      const expected = this.#views.map(view => describeAt(view, 0, place));
      return `at ${place}: ${describeAt(bytes, offsetBytes, place)}; not ${[...new Set(expected)].join(', or ')}`;
    }
    return undefined;
  }
}

/**
 * Returns changes in their order; of those in `cut`, as much as is in `content`, as they may have ended early. What
 * a later write lies over says nothing of them.
 */
function partsIn(
  content: Uint8Array,
  order: readonly number[],
  done: readonly (Change | undefined)[],
  cut: readonly number[],
): (Change | undefined)[] {
  const isHidden = new Uint8Array(content.byteLength);
  const parts: (Change | undefined)[] = [];
  for (const number of order.toReversed()) {
    let change = done[number];
    if (change?.kind === 'write') {
      const { bytes, offsetBytes } = change;
      let end = bytes.byteLength;
      if (cut.includes(number)) {
        const isThere = (byte: number, at: number): boolean =>
          at < content.byteLength && (isHidden[at] === 1 || content[at] === byte);
        const missing = bytes.findIndex((byte, at) => !isThere(byte, offsetBytes + at));
        if (missing !== -1) end = missing;
      }
      change = { ...change, bytes: bytes.subarray(0, end) };
      isHidden.fill(1, offsetBytes, offsetBytes + end);
    }
    parts.unshift(change);
  }
  return parts;
}

function allChanged(content: Uint8Array, changes: readonly (Change | undefined)[]): Uint8Array {
  return changes.reduce<Uint8Array>(
    (now, change) => (change === undefined ? now : changed(now, change)),
    content,
  );
}

/** Lists all subsets, each in the order of `items`. */
function subsetsOf<Item>(items: readonly Item[]): Item[][] {
  const subsets: Item[][] = [[]];
  for (const item of items) subsets.push(...subsets.map(one => [...one, item]));
  return subsets;
}

/** Lists all orders of `items`, the given one first. */
function ordersOf<Item>(items: readonly Item[]): Item[][] {
  if (items.length < 2) return [[...items]];
  return items.flatMap((first, at) => ordersOf(items.toSpliced(at, 1)).map(rest => [first, ...rest]));
}

/** Returns the first difference in words; undefined when there is none. */
export function whyNotEqual(content: Uint8Array, expected: Uint8Array): string | undefined {
  const equal = equalBytes(content, expected);
  if (equal === content.byteLength && equal === expected.byteLength) return undefined;
  if (equal === Math.min(content.byteLength, expected.byteLength)) {
    return `${content.byteLength} bytes, not ${expected.byteLength}`;
  }
  return `at ${equal}: ${describeAt(content, 0, equal)}; not ${describeAt(expected, 0, equal)}`;
}

function equalBytes(left: Uint8Array, right: Uint8Array): number {
  const length = Math.min(left.byteLength, right.byteLength);
  if (Buffer.compare(left.subarray(0, length), right.subarray(0, length)) === 0) return length;
  let at = 0;
  while (left[at] === right[at]) at += 1;
  return at;
}

export class FileModel {
  /** Steps since the last sync; the last one is the present one. */
  #steps: Step[];

  constructor(content: Uint8Array = new Uint8Array()) {
    this.#steps = [new Step(content)];
  }

  /** The present step. */
  get step(): Step {
    return this.#steps.at(-1) as Step;
  }

  /** What the file holds when all that was asked for is done. */
  get content(): Uint8Array {
    return this.step.after;
  }

  /** Whether something was changed since the last sync. */
  get isUnsynced(): boolean {
    const oldest = this.#steps[0];
    return oldest !== undefined && Buffer.compare(oldest.before, this.content) !== 0;
  }

  /** Begins a step. All changes of the one before have settled. */
  next(): Step {
    const step = new Step(this.content);
    this.#steps.push(step);
    return step;
  }

  /** Notes that everything from before `step` is in the store. */
  synced(step: Step): void {
    const at = this.#steps.indexOf(step);
    if (at > 0) this.#steps.splice(0, at);
  }

  /** Notes that the file is now known to hold `content`, and its past no longer matters. */
  reset(content: Uint8Array): void {
    this.#steps = [new Step(content)];
  }

  /**
   * Returns why the store cannot hold `content` now; undefined when it can. Then it can hold nothing older any
   * more.
   */
  whyNotStored(content: Uint8Array): string | undefined {
    const reasons = this.#steps.map(step => step.whyNotStored(content));
    const at = reasons.indexOf(undefined);
    if (at < 0) return `${reasons.at(-1)} (and so for ${reasons.length} steps)`;
    this.#steps.splice(0, at);
    return undefined;
  }
}
