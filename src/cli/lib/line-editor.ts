/**
 * Turns the keys that a terminal in raw mode sends into lines. Backspace, Ctrl-W and Ctrl-U edit the line,
 * which is not shown. Other control characters, and escape sequences such as arrows, are left out.
 */

export type KeyEvent =
  | { readonly type: 'line'; readonly bytes: Buffer }
  /** Ctrl-C, Ctrl-\, or Ctrl-D in an empty line. */
  | { readonly type: 'interrupt' }
  /** Ctrl-Z. */
  | { readonly type: 'suspend' };

const TAB = 0x09;
const ESCAPE = 0x1b;
const LINE_BYTES_MAX = 64 * 1024;

export class LineEditor {
  /** Keys that were typed and not taken yet, including those typed before the next prompt is shown. */
  #keys: number[] = [];
  #line: number[] = [];
  /** How much of an escape sequence has come: nothing, ESC, ESC [ and what follows, or ESC O. */
  #escape: 'none' | 'begun' | 'sequence' | 'last' = 'none';

  /** Adds bytes from the terminal. */
  add(bytes: Uint8Array): void {
    for (const byte of bytes) this.#keys.push(byte);
  }

  /** Returns the next event; undefined when more keys are needed. */
  next(): KeyEvent | undefined {
    for (let key = this.#keys.shift(); key !== undefined; key = this.#keys.shift()) {
      const event = this.#take(key);
      if (event !== undefined) return event;
    }
    return undefined;
  }

  /** Forgets the line that was begun. */
  clear(): void {
    this.#line = [];
    this.#escape = 'none';
  }

  #take(key: number): KeyEvent | undefined {
    if (this.#isEscape(key)) return undefined;
    switch (key) {
      case 0x0a:
      case 0x0d:
        return { type: 'line', bytes: this.#end() };
      case 0x03:
      case 0x1c:
        return { type: 'interrupt' };
      case 0x04:
        return this.#line.length === 0 ? { type: 'interrupt' } : undefined;
      case 0x1a:
        return { type: 'suspend' };
      case 0x08:
      case 0x7f:
        this.#removeCharacter();
        return undefined;
      case 0x15:
        this.#line = [];
        return undefined;
      case 0x17:
        this.#removeWord();
        return undefined;
      default:
        if ((key >= 0x20 || key === TAB) && this.#line.length < LINE_BYTES_MAX) this.#line.push(key);
        return undefined;
    }
  }

  /** True for the bytes of an escape sequence: ESC, or ESC [ to a letter or `~`, or ESC O and one more. */
  #isEscape(key: number): boolean {
    switch (this.#escape) {
      case 'begun':
        this.#escape = key === 0x5b ? 'sequence' : key === 0x4f ? 'last' : 'none';
        return this.#escape !== 'none';
      case 'sequence':
        if (key >= 0x40 && key <= 0x7e) this.#escape = 'none';
        return true;
      case 'last':
        this.#escape = 'none';
        return true;
      default:
        if (key === ESCAPE) this.#escape = 'begun';
        return key === ESCAPE;
    }
  }

  #end(): Buffer {
    const bytes = Buffer.from(this.#line);
    this.clear();
    return bytes;
  }

  #removeCharacter(): void {
    // UTF-8: the bytes after a character's first one are 10xxxxxx.
    for (let byte = this.#line.pop(); byte !== undefined && (byte & 0xc0) === 0x80; ) byte = this.#line.pop();
  }

  #removeWord(): void {
    while (this.#line.at(-1) === 0x20) this.#line.pop();
    while (this.#line.length > 0 && this.#line.at(-1) !== 0x20) this.#line.pop();
  }
}
