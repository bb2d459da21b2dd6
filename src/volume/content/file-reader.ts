/**
 * Reads one version of a file: from any place, or from front to back with reading ahead.
 *
 *   - All bytes that it returns are verified. Bytes that are lost are an error for exactly their range.
 *   - If a segment is gone, the inode is read again. A compaction may have moved the units: then reading goes
 *     on with the new place. Otherwise these units are lost.
 */
import { requireBytes, requireInteger, requireOptions } from '../../base/arguments.ts';
import { isNetsealError, NetsealError } from '../../base/errors.ts';
import { MIB, sizeToUnitCount } from '../../base/geometry.ts';
import type { FileInode } from '../../server/sealed/inode.ts';
import { type Mapped, UnitMap } from '../../server/sealed/unit-map.ts';
import { readUnits, type UnitToRead } from '../../server/sealed/unit-reader.ts';
import type { Session } from '../session/session.ts';

/** Bytes of a file that lie together: data, a hole, or an error. */
export interface Piece {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  /**
   * Shared memory, valid until the next piece is asked for; undefined for a hole. It may be shorter than the
   * piece: the rest is zeros.
   */
  readonly bytes?: Uint8Array | undefined;
  /** Why these bytes cannot be read. */
  readonly error?: NetsealError | undefined;
}

export interface ReadOptions {
  readonly signal?: AbortSignal | undefined;
}

/** Plain bytes of one group; a group has at least one unit. */
const GROUP_BYTES: number = 2 * MIB;
/** Groups that are read at once. */
const AHEAD_MAX = 6;

/** Adjacent units that are read together: [from, to). */
interface Group {
  readonly from: number;
  readonly to: number;
}

interface ReadGroup {
  readonly pieces: readonly Piece[];
  release(): void;
}

export class FileReader {
  readonly #session: Session;
  readonly #revalidate: (() => Promise<FileInode>) | undefined;
  readonly #map: UnitMap;
  readonly #openedAtMs: number;
  #inode: FileInode;

  /** @param revalidate reads the inode again. Without it a missing segment is an error at once. */
  constructor(session: Session, inode: FileInode, revalidate?: () => Promise<FileInode>) {
    this.#session = session;
    this.#inode = inode;
    this.#revalidate = revalidate;
    this.#map = new UnitMap(session.sealing, inode.id, session.mapNodes);
    this.#openedAtMs = session.nowMs();
  }

  get inode(): FileInode {
    return this.#inode;
  }

  get sizeBytes(): number {
    return this.#inode.sizeBytes;
  }

  /**
   * Fills `into` with the bytes from `offsetBytes` on. Rejects with the first {@link Piece.error}; with EINVAL
   * for an offset that is no whole number from 0.
   *
   * @param into the caller's own memory or shared memory. Its content is undefined after a failure.
   * @returns how many bytes were read: fewer than `into` holds only at the end of the file.
   */
  async read(into: Uint8Array, offsetBytes: number, options: ReadOptions = {}): Promise<number> {
    requireBytes('into', into);
    requireInteger('offsetBytes', offsetBytes);
    const endBytes = Math.min(this.sizeBytes, offsetBytes + into.byteLength);
    for await (const piece of this.pieces(offsetBytes, endBytes, options)) {
      if (piece.error !== undefined) throw piece.error;
      const at = piece.offsetBytes - offsetBytes;
      const target = into.subarray(at, at + piece.lengthBytes);
      target.set(piece.bytes ?? []);
      target.fill(0, piece.bytes?.byteLength ?? 0);
    }
    return Math.max(0, endBytes - offsetBytes);
  }

  /**
   * Yields the bytes of [from, to) in order and without gaps, reading ahead. Infinity is the end of the file. Rejects as {@link groups} does.
   */
  async *pieces(fromBytes: number, toBytes: number, options: ReadOptions = {}): AsyncGenerator<Piece> {
    for await (const pieces of this.groups(fromBytes, toBytes, options)) yield* pieces;
  }

  /**
   * Yields the same as {@link pieces}, several pieces at a time. They are valid until the next ones are asked
   * for. Rejects with EINVAL for a bound that is no whole number from 0, the signal's reason, ECLOSED, EWORKER; ECONFLICT when the file was changed and its old
   * content is gone.
   */
  async *groups(
    fromBytes: number,
    toBytes: number,
    options: ReadOptions = {},
  ): AsyncGenerator<readonly Piece[]> {
    requireInteger('fromBytes', fromBytes);
    if (toBytes !== Number.POSITIVE_INFINITY) requireInteger('toBytes', toBytes);
    requireOptions('options', options);
    this.#session.requireOpen();
    const { signal } = options;
    const endBytes = Math.min(toBytes, this.sizeBytes);
    if (fromBytes >= endBytes) return;
    const groups = this.#groups(fromBytes, endBytes);
    const ahead: { readonly bytes: number; readonly reading: Promise<ReadGroup> }[] = [];
    const { readBudget, openFiles } = this.#session;
    const close = openFiles.open(this.#openedAtMs);
    let next = groups.next();
    const start = (bytes: number, group: Group): void => {
      const reading = this.#readGroup(group, signal);
      // It is awaited in its turn; until then a failure must not count as unhandled.
      reading.catch(() => undefined);
      ahead.push({ bytes, reading });
      next = groups.next();
    };
    try {
      while (ahead.length > 0 || next.done !== true) {
        if (ahead.length === 0 && next.done !== true) {
          const bytes = this.#groupBytes(next.value);
          await readBudget.acquire(bytes, signal);
          start(bytes, next.value);
        }
        while (next.done !== true && ahead.length < AHEAD_MAX) {
          const bytes = this.#groupBytes(next.value);
          if (!readBudget.tryAcquire(bytes)) break;
          start(bytes, next.value);
        }
        const first = ahead[0];
        if (first === undefined) break;
        const { pieces, release } = await first.reading;
        try {
          yield pieces.flatMap(piece => clip(piece, fromBytes, endBytes));
        } finally {
          ahead.shift();
          release();
          readBudget.release(first.bytes);
        }
      }
    } finally {
      close();
      for (const { bytes, reading } of ahead) {
        await reading.then(
          ({ release }) => release(),
          () => undefined,
        );
        readBudget.release(bytes);
      }
    }
  }

  *#groups(fromBytes: number, toBytes: number): Generator<Group, undefined> {
    const { unitSizeBytes } = this.#inode;
    const last = sizeToUnitCount(toBytes, unitSizeBytes);
    // Small units may take three times as much memory sealed, with the gaps between them.
    const groupBytes = Math.min(GROUP_BYTES, this.#session.sealing.pipeline.slabBytes / 4);
    const unitCount = Math.max(1, Math.floor(groupBytes / unitSizeBytes));
    for (let from = Math.floor(fromBytes / unitSizeBytes); from < last; from += unitCount) {
      yield { from, to: Math.min(last, from + unitCount) };
    }
    return undefined;
  }

  #groupBytes({ from, to }: Group): number {
    return (to - from) * this.#inode.unitSizeBytes;
  }

  async #readGroup(group: Group, signal: AbortSignal | undefined): Promise<ReadGroup> {
    const first = await this.#tryGroup(group, signal);
    const isGone = first.pieces.some(({ error }) => error?.code === 'EMISSING');
    if (!isGone || this.#revalidate === undefined) return first;
    const now = await this.#revalidate().catch(() => undefined);
    if (now === undefined || now.version === this.#inode.version) return first;
    first.release();
    if (now.dataVersion !== this.#inode.dataVersion) {
      throw new NetsealError('ECONFLICT', 'the file was changed while it was being read: read it again');
    }
    this.#inode = now;
    return await this.#tryGroup(group, signal);
  }

  async #tryGroup({ from, to }: Group, signal: AbortSignal | undefined): Promise<ReadGroup> {
    const { id, map, sizeBytes, unitSizeBytes } = this.#inode;
    const mapped = await this.#map.lookup(map, from, to, signal);
    const requests: UnitToRead[] = [];
    for (const [at, pointer] of mapped.entries()) {
      if (pointer === undefined || isNetsealError(pointer)) continue;
      const index = from + at;
      const plainBytesMax = Math.min(unitSizeBytes, sizeBytes - index * unitSizeBytes);
      requests.push({ objectId: id, index, unitSizeBytes, pointer, plainBytesMax });
    }
    const { units, release } = await readUnits(this.#session.sealing, requests, signal);
    let next = 0;
    const pieces = mapped.map((pointer, at): Piece => {
      const offsetBytes = (from + at) * unitSizeBytes;
      const lengthBytes = Math.min(unitSizeBytes, sizeBytes - offsetBytes);
      if (!isPointer(pointer)) return { offsetBytes, lengthBytes, error: pointer };
      const unit = units[next++];
      return {
        offsetBytes,
        lengthBytes,
        bytes: unit?.error === undefined ? unit?.bytes : undefined,
        error: unit?.error,
      };
    });
    return { pieces: joinHoles(pieces), release };
  }
}

function isPointer(mapped: Mapped): mapped is Exclude<Mapped, undefined | NetsealError> {
  return mapped !== undefined && !isNetsealError(mapped);
}

/** Joins adjacent holes. */
function joinHoles(pieces: readonly Piece[]): Piece[] {
  const joined: Piece[] = [];
  for (const piece of pieces) {
    const last = joined.at(-1);
    if (last !== undefined && isHole(last) && isHole(piece)) {
      joined[joined.length - 1] = { ...last, lengthBytes: last.lengthBytes + piece.lengthBytes };
    } else {
      joined.push(piece);
    }
  }
  return joined;
}

function isHole({ bytes, error }: Piece): boolean {
  return bytes === undefined && error === undefined;
}

/** Returns the part of a piece that lies within [from, to); nothing if there is none. */
function clip(piece: Piece, fromBytes: number, toBytes: number): Piece[] {
  const start = Math.max(piece.offsetBytes, fromBytes);
  const end = Math.min(piece.offsetBytes + piece.lengthBytes, toBytes);
  if (start >= end) return [];
  const bytes = piece.bytes?.subarray(start - piece.offsetBytes, end - piece.offsetBytes);
  return [{ ...piece, offsetBytes: start, lengthBytes: end - start, bytes }];
}
