/** A tree sealed into one file, with an index in memory: what the demo makes, reads back and damages. */
import { randomBytes } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import type { KeyHandle } from '../src/pipeline/key-table.ts';
import type { Pipeline } from '../src/pipeline/pipeline.ts';
import type { OpenedUnit, UnitToOpen } from '../src/pipeline/requests.ts';
import { type TreeUnit, unitBatches } from './tree.ts';

export const UNIT_BYTES: number = 256 * 1024;
const BATCH_LIMITS = { bytes: 2 * 1024 * 1024, units: 128 };
const REQUESTS_AT_ONCE = 4;

/** Where a sealed unit lies, and which version it is. */
export interface SealedEntry {
  readonly file: number;
  readonly index: number;
  readonly offset: number;
  readonly length: number;
  readonly plainBytes: number;
  readonly tag: Uint8Array;
}

export class SealedTree {
  readonly files: readonly string[];
  readonly path: string;
  readonly entries: SealedEntry[] = [];
  readonly #objectIds: readonly Uint8Array[];
  readonly #pipeline: Pipeline;
  readonly #keys: KeyHandle;
  readonly #handle: FileHandle;
  #sealedBytes = 0;

  /** Seals `files` into a new file at `path`. */
  static async seal(
    files: readonly string[],
    path: string,
    pipeline: Pipeline,
    keys: KeyHandle,
  ): Promise<SealedTree> {
    const tree = new SealedTree(files, path, pipeline, keys, await open(path, 'wx+', 0o600));
    const batches = unitBatches(files, UNIT_BYTES, BATCH_LIMITS);
    await inLanes(async () => {
      const next = await batches.next();
      if (next.done === true) return false;
      await tree.#sealBatch(next.value);
      return true;
    });
    return tree;
  }

  private constructor(
    files: readonly string[],
    path: string,
    pipeline: Pipeline,
    keys: KeyHandle,
    handle: FileHandle,
  ) {
    this.files = files;
    this.path = path;
    this.#pipeline = pipeline;
    this.#keys = keys;
    this.#handle = handle;
    // An id a file: its units open in no other.
    this.#objectIds = files.map(() => randomBytes(16));
  }

  get sealedBytes(): number {
    return this.#sealedBytes;
  }

  get plainBytes(): number {
    return this.entries.reduce((sum, entry) => sum + entry.plainBytes, 0);
  }

  /** Opens every unit and calls `check` with its plain bytes. Throws when one does not open. */
  async openAll(check: (entry: SealedEntry, plain: Uint8Array) => Promise<void> | void): Promise<void> {
    let next = 0;
    await inLanes(async () => {
      const part = this.entries.slice(next, next + 16);
      next += part.length;
      await this.openUnits(part, async (entry, opened) => {
        if (opened.error !== undefined) throw opened.error;
        await check(entry, opened.bytes);
      });
      return part.length > 0;
    });
  }

  /** Opens some units, from `read` bytes if given (a damaged copy) instead of the file's own. */
  async openUnits(
    entries: readonly SealedEntry[],
    use: (entry: SealedEntry, opened: OpenedUnit) => Promise<void> | void,
    options: { keys?: KeyHandle; as?: SealedEntry; damage?: (record: Uint8Array) => void } = {},
  ): Promise<void> {
    if (entries.length === 0) return;
    const lease = await this.#pipeline.reserveSealed(entries.reduce((sum, entry) => sum + entry.length, 0));
    try {
      const { bytes } = lease;
      let offsetBytes = 0;
      const units: UnitToOpen[] = [];
      for (const entry of entries) {
        const record = bytes.subarray(offsetBytes, offsetBytes + entry.length);
        await this.#handle.read(record, 0, entry.length, entry.offset);
        options.damage?.(record);
        const place = options.as ?? entry;
        units.push({
          objectId: this.#objectIds[place.file]!,
          kind: 'unit',
          index: place.index,
          unitSizeBytes: UNIT_BYTES,
          offsetBytes,
          lengthBytes: entry.length,
        });
        offsetBytes += entry.length;
      }
      const run = await this.#pipeline.open({ keys: options.keys ?? this.#keys, from: lease, units });
      for (const [at, entry] of entries.entries()) await use(entry, run.units[at]!);
      run.release();
    } finally {
      lease.release();
    }
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  async #sealBatch(batch: readonly TreeUnit[]): Promise<void> {
    const plainBytes = batch.reduce((sum, unit) => sum + unit.bytes.byteLength, 0);
    const lease = await this.#pipeline.reservePlain(Math.max(1, plainBytes));
    try {
      const { bytes } = lease;
      let offsetBytes = 0;
      const units = batch.map(unit => {
        bytes.set(unit.bytes, offsetBytes);
        const place = {
          objectId: this.#objectIds[unit.file]!,
          kind: 'unit' as const,
          index: unit.index,
          unitSizeBytes: UNIT_BYTES,
          offsetBytes,
          lengthBytes: unit.bytes.byteLength,
        };
        offsetBytes += unit.bytes.byteLength;
        return place;
      });
      const run = await this.#pipeline.seal({ keys: this.#keys, from: lease, units });
      const writes = run.units.map((unit, at) => {
        const { file, index, bytes: plain } = batch[at]!;
        const entry = {
          file,
          index,
          offset: this.#sealedBytes,
          length: unit.bytes.byteLength,
          plainBytes: plain.byteLength,
          tag: unit.tag,
        };
        this.entries.push(entry);
        this.#sealedBytes += entry.length;
        return this.#handle.write(unit.bytes, 0, entry.length, entry.offset);
      });
      await Promise.all(writes);
      run.release();
    } finally {
      lease.release();
    }
  }
}

/** Calls `step` again and again, several at once, until it says that there is no more. */
async function inLanes(step: () => Promise<boolean>): Promise<void> {
  const lane = async (): Promise<void> => {
    while (await step());
  };
  await Promise.all(Array.from({ length: REQUESTS_AT_ONCE }, lane));
}
