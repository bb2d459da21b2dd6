/** A JSON array on standard output, an entry a line, written as its entries come. */
import { toJson } from './display.ts';
import { writeOut } from './write-out.ts';

/** Written at once. */
const CHARACTERS = 64 * 1024;

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
    if (this.#text.length < CHARACTERS) return;
    await writeOut(this.#text, this.#signal);
    this.#text = '';
  }

  async end(): Promise<void> {
    await writeOut(`${this.#text}${this.#count === 0 ? '[]\n' : '\n]\n'}`, this.#signal);
  }
}
