/** The ways in which `netseal ls` writes what it lists: names, long lines, JSON. */
import type { Name } from '../../base/name.ts';
import { toBytesName } from '../../volume/names/name-checks.ts';
import {
  describeInode,
  formatBytes,
  formatMinute,
  formatMode,
  Lines,
  nameFields,
  sizesOf,
  toJson,
} from '../lib/display.ts';
import type { Listed } from './listing.ts';
import type { VolumePath } from './paths.ts';

export interface PrintedItem extends Listed {
  readonly path: Name;
  /** Named on the command line: it goes by its path. */
  readonly isNamedByPath: boolean;
}

export interface Printer {
  /** What follows is in this folder. */
  startFolder(path: VolumePath): void;
  /** The bytes to write for some items. */
  print(items: readonly PrintedItem[]): Uint8Array;
  /** What comes last. */
  end(): Uint8Array;
}

export interface LineSettings {
  readonly isTerminal: boolean;
  readonly end: string;
  /** Whether each folder is named before what is in it. */
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

/** Columns are as wide as the widest cell so far: lines are written while the rest is still being read. */
export class LongPrinter extends NamePrinter {
  readonly #isHuman: boolean;
  readonly #widths: number[] = [];

  constructor(settings: LineSettings) {
    super(settings);
    this.#isHuman = settings.isHuman;
  }

  override print(items: readonly PrintedItem[]): Uint8Array {
    for (const item of items) {
      for (const [at, cell] of this.#cells(item).entries()) {
        this.#widths[at] = Math.max(this.#widths[at] ?? 0, cell.length);
      }
    }
    return super.print(items);
  }

  protected override line(item: PrintedItem): Name {
    const cells = this.#cells(item).map((cell, at) => cell.padStart(this.#widths[at] ?? 0));
    const name = super.line(item);
    const { inode } = item;
    const target = inode?.type === 'symlink' ? ` -> ${this.lines.name(toBytesName(inode.target))}` : '';
    return `${cells.join('  ')}  ${name}${target}`;
  }

  #cells({ type, inode }: PrintedItem): string[] {
    if (inode === undefined)
      return [formatMode(type, 0).replaceAll(/(?<=.)-/g, '?'), '?', '?', '?', '?', '?'.padEnd(16)];
    const { size, stored } = sizesOf(inode);
    const bytes = (value: number | undefined): string =>
      value === undefined ? '-' : formatBytes(value, this.#isHuman);
    return [
      formatMode(type, inode.mode),
      inode.type === 'directory' ? '-' : String(inode.linkCount),
      `${inode.uid}:${inode.gid}`,
      bytes(size),
      bytes(stored),
      formatMinute(inode.mtimeNs),
    ];
  }
}

/** One array, an entry a line. */
export class JsonPrinter implements Printer {
  #count = 0;

  startFolder(): void {
    // Paths say it.
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
