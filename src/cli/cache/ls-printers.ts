/** The forms in which `netseal cache ls` prints: lines, JSON. */
import { toHex } from '../../base/bytes.ts';
import type { Name } from '../../base/name.ts';
import type { CachedObject, ListedUnit } from '../../cache/inspect/listing.ts';
import { toBytesName } from '../../volume/names/name-checks.ts';
import { JsonArray } from '../lib/json-array.ts';
import { Columns, Lines } from '../lib/lines.ts';
import { formatSize } from '../lib/sizes.ts';
import { writeOut } from '../lib/write-out.ts';
import { cookieFields } from './object-names.ts';

/** A volume or an object. */
export interface Listed extends Omit<CachedObject, 'objectId'> {
  readonly id: Uint8Array;
  readonly cookie: Uint8Array | undefined;
}

/** Units with consecutive indexes in one queue. */
export interface UnitRange {
  from: number;
  /** One more than the last index. */
  to: number;
  bytes: number;
  readonly queue: string;
  readonly isDirty: boolean;
}

export interface Printer {
  add(listed: Listed): Promise<void>;
  addUnit(unit: ListedUnit): Promise<void>;
  addRange(range: UnitRange): Promise<void>;
  end(): Promise<void>;
}

/** How many lines are gathered before they are written. */
const WRITE_LINES = 512;

/** Prints columns as wide as the widest cell so far: lines are written while the rest is still being read. */
export class LinePrinter implements Printer {
  readonly #signal: AbortSignal;
  readonly #lines = new Lines(process.stdout.isTTY === true);
  readonly #columns = new Columns();
  #rows: { readonly cells: readonly string[]; readonly last: Name }[] = [];

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  add({ id, units, bytes, dirty, isPinned: pinned, cookie }: Listed): Promise<void> {
    const flags = `${pinned ? 'p' : '-'}${dirty.units > 0 ? 'd' : '-'}`;
    const name = cookie === undefined ? '' : `  ${this.#lines.name(toBytesName(cookie))}`;
    return this.#add([units.toLocaleString('en-US'), formatSize(bytes), flags], `${toHex(id)}${name}`);
  }

  addUnit({ index, lengthBytes, queue, tag, isDirty }: ListedUnit): Promise<void> {
    return this.#add(
      [String(index), formatSize(lengthBytes), isDirty ? '-d' : '--', queue.padEnd(6)],
      toHex(tag),
    );
  }

  addRange({ from, to, bytes, queue, isDirty }: UnitRange): Promise<void> {
    const indexes = to === from + 1 ? String(from) : `${from}-${to - 1}`;
    return this.#add(
      [(to - from).toLocaleString('en-US'), formatSize(bytes), isDirty ? '-d' : '--', queue.padEnd(6)],
      indexes,
    );
  }

  end(): Promise<void> {
    return this.#write();
  }

  /** @param last the rest of the line, which is not padded. */
  async #add(cells: readonly string[], last: Name): Promise<void> {
    this.#rows.push({ cells, last });
    if (this.#rows.length >= WRITE_LINES) await this.#write();
  }

  async #write(): Promise<void> {
    for (const { cells } of this.#rows) this.#columns.fit(cells);
    for (const { cells, last } of this.#rows) this.#lines.add(`${this.#columns.join(cells)}  ${last}`);
    this.#rows = [];
    await writeOut(this.#lines.take(), this.#signal);
  }
}

export class JsonPrinter implements Printer {
  readonly #array: JsonArray;

  constructor(signal: AbortSignal) {
    this.#array = new JsonArray(signal);
  }

  add({ id, units, bytes, dirty, isPinned: pinned, cookie }: Listed): Promise<void> {
    return this.#array.add({ id: toHex(id), units, bytes, dirty, pinned, ...cookieFields(cookie) });
  }

  addUnit({ index, lengthBytes, queue, tag, isDirty }: ListedUnit): Promise<void> {
    return this.#array.add({ index, bytes: lengthBytes, queue, dirty: isDirty, tag: toHex(tag) });
  }

  addRange({ from, to, bytes, queue, isDirty }: UnitRange): Promise<void> {
    return this.#array.add({ from, to, units: to - from, bytes, queue, dirty: isDirty });
  }

  end(): Promise<void> {
    return this.#array.end();
  }
}
