/** Lines with names in them. Names are bytes and need not be text, so the lines are gathered as bytes. */
import type { Name } from '../../base/name.ts';
import { showName } from '../../transfer/local-names.ts';
import { nameBytes, toBytesName } from '../../volume/names/name-checks.ts';

export class Lines {
  readonly #isTerminal: boolean;
  readonly #end: string;
  #bytes: Name = '';

  /** @param end the end of each line: `\n`, or `\0` for programs that must read any name. */
  constructor(isTerminal: boolean, end = '\n') {
    this.#isTerminal = isTerminal;
    this.#end = end;
  }

  /** Returns a name or path as it is to be written: escaped for a terminal, else its bytes. */
  name(name: Name): Name {
    return this.#isTerminal ? toBytesName(showName(name)) : name;
  }

  /**
   * Adds a line.
   *
   * @param line bytes; its names come from {@link name}, its other text from {@link textToBytes}.
   */
  add(line: Name): void {
    this.#bytes += line + this.#end;
  }

  /** Returns the lines since the last call. */
  take(): Buffer {
    const bytes = nameBytes(this.#bytes);
    this.#bytes = '';
    return bytes;
  }
}

/**
 * Returns text as bytes in the form of a name, for a line that also holds names. ASCII text is that already.
 */
export function textToBytes(text: string): Name {
  return Buffer.from(text).toString('latin1');
}

/** The columns of a table. Each is as wide as its widest cell so far. */
export class Columns {
  readonly #widths: number[] = [];

  /** Widens the columns for the cells of a row. Call it before {@link join}. */
  fit(cells: readonly string[]): void {
    for (const [column, cell] of cells.entries()) {
      this.#widths[column] = Math.max(this.#widths[column] ?? 0, cell.length);
    }
  }

  /** Returns the cells as one line. @param pad the side on which spaces are added. */
  join(cells: readonly string[], pad: 'start' | 'end' = 'start'): string {
    const padded = cells.map((cell, column) => {
      const width = this.#widths[column] ?? 0;
      return pad === 'start' ? cell.padStart(width) : cell.padEnd(width);
    });
    return padded.join('  ');
  }
}
