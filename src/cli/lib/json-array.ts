/**
 * A JSON array on standard output, one entry a line. Entries are written as they come, so that a list may be
 * of any length.
 */
import { toJson } from './json-text.ts';
import { writeOut } from './write-out.ts';

/** Text is gathered up to this length before it is written. */
const WRITE_CHARACTERS = 64 * 1024;

export class JsonArray {
  readonly #signal: AbortSignal;
  #text = '';
  #count = 0;

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  async add(entry: unknown): Promise<void> {
    this.#text += `${this.#count === 0 ? '[\n' : ',\n'}${toJson(entry)}`;
    this.#count += 1;
    if (this.#text.length < WRITE_CHARACTERS) return;
    await writeOut(this.#text, this.#signal);
    this.#text = '';
  }

  /** Closes the array. Without it, what was written is no JSON. */
  async end(): Promise<void> {
    await writeOut(`${this.#text}${this.#count === 0 ? '[]\n' : '\n]\n'}`, this.#signal);
  }
}
