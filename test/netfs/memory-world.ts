/**
 * Files in memory that behave as the model expects, and that can be given one of the faults that the model must
 * find. It stands in for netfs where the model itself is tested.
 */
import { changed } from './file-model.ts';
import type { FileUnderTest, OpenMode, World } from './model-run.ts';
import { Turns } from './turns.ts';

/** A fault of a netfs, each of a kind that has happened to others. */
export type PlantedFault =
  | 'none'
  /** A sync takes what was written while it was under way for written. */
  | 'swallows'
  /** Bytes that were cut off come back when the file grows. */
  | 'revives'
  /** A sync resolves before the store has anything. */
  | 'lies'
  /** A commit holds a later write without an earlier one. */
  | 'reorders'
  /** An append uses the end of the file as it was when the call before began. */
  | 'overlaps'
  /** An open file does not see what was written by another one since it was read last. */
  | 'stale';

interface MemoryFile {
  content: Uint8Array;
  stored: Uint8Array;
  isDirty: boolean;
  appendEnd: number;
}

export class MemoryWorld implements World {
  readonly turns: Turns;
  readonly #fault: PlantedFault;
  readonly #files = new Map<number, MemoryFile>();

  constructor(seed: number, fault: PlantedFault) {
    this.turns = new Turns(seed);
    this.#fault = fault;
  }

  async open(number: number, mode: OpenMode): Promise<FileUnderTest> {
    const empty = new Uint8Array();
    const file = this.#files.get(number) ?? { content: empty, stored: empty, isDirty: false, appendEnd: 0 };
    this.#files.set(number, file);
    let lastSeen = file.content;
    return {
      read: async (into, positionBytes) => {
        await this.turns.turn('read');
        const content = this.#fault === 'stale' ? lastSeen : file.content;
        lastSeen = file.content;
        const part = content.subarray(positionBytes, positionBytes + into.byteLength);
        into.set(part);
        return part.byteLength;
      },
      write: async (bytes, positionBytes) => {
        const end = this.#fault === 'overlaps' ? file.appendEnd : file.content.byteLength;
        file.appendEnd = file.content.byteLength;
        const offsetBytes = mode === 'append' ? end : (positionBytes ?? end);
        const before = file.content;
        file.content = changed(file.content, { kind: 'write', offsetBytes, bytes: Uint8Array.from(bytes) });
        file.isDirty = true;
        if (this.#fault === 'reorders' && bytes.byteLength > 0) file.stored = reordered(file, before);
        await this.turns.turn('write');
        if (mode === 'dsync') await this.#sync(file);
        return bytes.byteLength;
      },
      truncate: async sizeBytes => {
        const { content } = file;
        file.content = changed(content, { kind: 'truncate', sizeBytes });
        if (this.#fault === 'revives' && sizeBytes < content.byteLength && sizeBytes > 0) {
          const longer = content.subarray(0, sizeBytes + 1);
          file.content = changed(file.content, { kind: 'write', offsetBytes: 0, bytes: longer });
        }
        file.isDirty = true;
        await this.turns.turn('truncate');
      },
      sync: () => this.#sync(file),
      close: () => this.#sync(file),
    };
  }

  async stored(number: number): Promise<Uint8Array> {
    return this.#files.get(number)?.stored ?? new Uint8Array();
  }

  heal(): void {
    // Nothing here fails.
  }

  async end(): Promise<void> {
    await this.turns.settle();
  }

  async #sync(file: MemoryFile): Promise<void> {
    if (!file.isDirty) return;
    const { content } = file;
    if (this.#fault !== 'swallows') file.isDirty = false;
    await this.turns.turn('upload');
    if (this.#fault === 'lies') return;
    file.stored = content;
    await this.turns.turn('commit');
    file.isDirty = this.#fault !== 'swallows' && file.content !== content;
  }
}

/** The latest write without what was written since the last commit before it. */
function reordered(file: MemoryFile, before: Uint8Array): Uint8Array {
  const next = changed(file.stored, { kind: 'truncate', sizeBytes: file.content.byteLength });
  return next.map((byte, at) => (file.content[at] === before[at] ? byte : (file.content[at] ?? 0)));
}
