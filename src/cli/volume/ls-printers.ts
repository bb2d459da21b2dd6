/** The forms in which `netseal ls` prints: names, long lines, JSON. */
import type { Name } from '../../base/name.ts';
import { isDevice } from '../../server/sealed/inode-body.ts';
import { toBytesName } from '../../volume/names/name-checks.ts';
import { nameFields } from '../lib/json.ts';
import { toJson } from '../lib/json-text.ts';
import { Columns, Lines } from '../lib/lines.ts';
import { formatMinute } from '../lib/times.ts';
import type { Listed } from './entries.ts';
import { describeInode, formatBytes, formatMode, linksOf, sizesOf } from './inode-display.ts';
import type { VolumePath } from './paths.ts';

export interface PrintedItem extends Listed {
  readonly path: Name;
  /** True for a path of the command line: it is listed by its path, not by its name. */
  readonly isNamedByPath: boolean;
}

export interface Printer {
  /** Begins the entries of a folder. */
  startFolder(path: VolumePath): void;
  /** Returns the bytes to write for some items. */
  print(items: readonly PrintedItem[]): Uint8Array;
  /** Returns the bytes to write after the last item. */
  end(): Uint8Array;
}

export interface LineSettings {
  readonly isTerminal: boolean;
  readonly end: string;
  /** Whether to name each folder before its entries. */
  readonly hasHeaders: boolean;
  readonly isHuman: boolean;
}

export class NamePrinter implements Printer {
  protected readonly lines: Lines;
  readonly #hasHeaders: boolean;
  #isFirst = true;

  constructor({ isTerminal, end, hasHeaders }: LineSettings) {
    this.lines = new Lines(isTerminal, end);
    this.#hasHeaders = hasHeaders;
  }

  startFolder({ path }: VolumePath): void {
    if (!this.#hasHeaders) return;
    if (!this.#isFirst) this.lines.add('');
    this.lines.add(`${this.lines.name(path)}:`);
    this.#isFirst = false;
  }

  print(items: readonly PrintedItem[]): Uint8Array {
    for (const item of items) this.lines.add(this.line(item));
    if (items.length > 0) this.#isFirst = false;
    return this.lines.take();
  }

  end(): Uint8Array {
    return this.lines.take();
  }

  protected line({ name, path, isNamedByPath }: PrintedItem): Name {
    return this.lines.name(isNamedByPath ? path : name);
  }
}

/** Prints columns as wide as the widest cell so far. Lines are written while the rest is still being read. */
export class LongPrinter extends NamePrinter {
  readonly #isHuman: boolean;
  readonly #columns = new Columns();

  constructor(settings: LineSettings) {
    super(settings);
    this.#isHuman = settings.isHuman;
  }

  override print(items: readonly PrintedItem[]): Uint8Array {
    for (const item of items) this.#columns.fit(this.#cells(item));
    return super.print(items);
  }

  protected override line(item: PrintedItem): Name {
    const name = super.line(item);
    const { inode } = item;
    const target = inode?.type === 'symlink' ? ` -> ${this.lines.name(toBytesName(inode.target))}` : '';
    return `${this.#columns.join(this.#cells(item))}  ${name}${target}`;
  }

  #cells({ type, inode }: PrintedItem): string[] {
    if (inode === undefined)
      return [formatMode(type, 0).replaceAll(/(?<=.)-/g, '?'), '?', '?', '?', '?', '?'.padEnd(16)];
    const { size, stored } = sizesOf(inode);
    const bytes = (value: number | undefined): string =>
      value === undefined ? '-' : formatBytes(value, this.#isHuman);
    return [
      formatMode(type, inode.mode),
      String(linksOf(inode)),
      `${inode.uid}:${inode.gid}`,
      isDevice(inode) ? `${inode.major}, ${inode.minor}` : bytes(size),
      bytes(stored),
      formatMinute(inode.mtimeNs),
    ];
  }
}

/** Prints one array, an entry a line. */
export class JsonPrinter implements Printer {
  #count = 0;

  startFolder(): void {
    // Each entry has its whole path.
  }

  print(items: readonly PrintedItem[]): Uint8Array {
    const texts = items.map(item => {
      const { name, path, type, inode, error } = item;
      const fields = inode === undefined ? { type } : describeInode(inode);
      const failed = error instanceof Error && 'code' in error ? { error: error.code } : {};
      const text = toJson({
        ...nameFields('name', name),
        ...nameFields('path', path),
        ...fields,
        ...failed,
      });
      this.#count += 1;
      return `${this.#count === 1 ? '[\n' : ',\n'}${text}`;
    });
    return Buffer.from(texts.join(''));
  }

  end(): Uint8Array {
    return Buffer.from(this.#count === 0 ? '[]\n' : '\n]\n');
  }
}
