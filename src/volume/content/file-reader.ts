/**
 * Reads one version of a file: from any place, or from front to back with reading ahead.
 *
 *   - All bytes that it returns are verified. Bytes that are lost are an error for exactly their range.
 *   - If a segment is gone, the inode is read again. A compaction may have moved the units: then reading goes
 *     on with the new place. Otherwise these units are lost.
 */
import { requireBytes, requireInteger, requireOptions } from '../../base/arguments.ts';
import { copyBytes } from '../../base/bytes.ts';
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
/** As many units as a page of the extent map covers at its lowest level. */
const PAGE_UNITS = 1024;

/** Adjacent units that are read together: [from, to). */
interface Group {
  readonly from: number;
  readonly to: number;
}

interface ReadGroup {
  readonly pieces: readonly Piece[];
  /** No unit of the group has data: all are holes, or lost with a page of the extent map. */
  readonly isEmpty: boolean;
  release(): void;
}

/** Units that are holes, or lost with a page of the extent map: up to `to`, exclusive. */
interface EmptyUnits {
  readonly to: number;
  readonly error?: NetsealError | undefined;
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
   * Fills `into` with the bytes from `offsetBytes` on. Rejects with the first {@link Piece.error}; with
   * EINVAL for an offset that is no whole number from 0.
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
      if (piece.bytes !== undefined) copyBytes(piece.bytes, target);
      target.fill(0, piece.bytes?.byteLength ?? 0);
    }
    return Math.max(0, endBytes - offsetBytes);
  }

  /**
   * Yields the bytes of [from, to) in order and without gaps, reading ahead. Infinity is the end of the file.
   * Rejects as {@link groups} does.
   */
  async *pieces(fromBytes: number, toBytes: number, options: ReadOptions = {}): AsyncGenerator<Piece> {
    for await (const pieces of this.groups(fromBytes, toBytes, options)) yield* pieces;
  }

  /**
   * Yields the same as {@link pieces}, several pieces at a time. They are valid until the next ones are asked
   * for. A hole costs the same whatever its size: after a group of holes, the extent map says where data
   * follows.
   *
   * Rejects with EINVAL for a bound that is no whole number from 0, ECONFLICT when the file was changed and
   * its old content is gone, ECLOSED, EWORKER, and the signal's reason.
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
    if (fromBytes < endBytes) yield* this.#groups(fromBytes, endBytes, signal);
  }

  async *#groups(
    fromBytes: number,
    endBytes: number,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<readonly Piece[]> {
    const { unitSizeBytes } = this.#inode;
    const last = sizeToUnitCount(endBytes, unitSizeBytes);
    const unitCount = this.#groupUnits();
    const ahead: { readonly bytes: number; readonly reading: Promise<ReadGroup> }[] = [];
    const { readBudget, openFiles } = this.#session;
    const close = openFiles.open(this.#openedAtMs);
    let next = Math.floor(fromBytes / unitSizeBytes);
    const nextGroup = (): Group => ({ from: next, to: Math.min(last, next + unitCount) });
    const start = (bytes: number, group: Group): void => {
      const reading = this.#readGroup(group, signal);
      // This is awaited once the caller has taken the groups before it. Until then a failure must not count
      // as unhandled.
      reading.catch(() => undefined);
      ahead.push({ bytes, reading });
      next = group.to;
    };
    try {
      for (;;) {
        signal?.throwIfAborted();
        while (next < last && ahead.length < AHEAD_MAX) {
          const group = nextGroup();
          const bytes = this.#groupBytes(group);
          if (ahead.length === 0) await readBudget.acquire(bytes, signal);
          else if (!readBudget.tryAcquire(bytes)) break;
          start(bytes, group);
        }
        const first = ahead[0];
        if (first === undefined) break;
        const { pieces, isEmpty, release } = await first.reading;
        try {
          yield pieces.flatMap(piece => clip(piece, fromBytes, endBytes));
        } finally {
          ahead.shift();
          release();
          readBudget.release(first.bytes);
        }
        const empty = isEmpty ? await this.#emptyGroup(next, last, signal) : undefined;
        if (empty === undefined) continue;
        ahead.push({ bytes: 0, reading: Promise.resolve(empty) });
        next = empty.to;
      }
    } finally {
      close();
      for (const { bytes, reading } of ahead) {
        await reading.then(({ release }) => release()).catch(() => undefined);
        readBudget.release(bytes);
      }
    }
  }

  /** Returns the units from `next` on without data, as one piece. Undefined when the next unit has some. */
  async #emptyGroup(
    next: number,
    last: number,
    signal: AbortSignal | undefined,
  ): Promise<(ReadGroup & EmptyUnits) | undefined> {
    const { to, error } = await this.#emptyFrom(next, last, signal);
    if (to === next) return undefined;
    const { sizeBytes, unitSizeBytes } = this.#inode;
    const offsetBytes = next * unitSizeBytes;
    const lengthBytes = Math.min(to * unitSizeBytes, sizeBytes) - offsetBytes;
    return { pieces: [{ offsetBytes, lengthBytes, error }], to, isEmpty: false, release: () => undefined };
  }

  /** Returns how many units make a group. */
  #groupUnits(): number {
    // Small units may take three times as much memory sealed, with the gaps between them.
    const groupBytes = Math.min(GROUP_BYTES, this.#session.sealing.pipeline.slabBytes / 4);
    return Math.max(1, Math.floor(groupBytes / this.#inode.unitSizeBytes));
  }

  /**
   * Returns how far the units from `from` on, below `last`, are all holes, or all lost with one map page. It
   * looks at ranges of the map that double in size, so that it reads little that is not needed next.
   */
  async #emptyFrom(from: number, last: number, signal: AbortSignal | undefined): Promise<EmptyUnits> {
    let at = from;
    for (let count = PAGE_UNITS; at < last; count *= 2) {
      const to = Math.min(last, at + count);
      for await (const part of this.#map.walk(this.#inode.map, at, to, signal)) {
        if (!('error' in part)) return { to: part.units[0]?.index ?? at };
        // The units before a lost page are holes. The page itself is looked at when its units are next.
        if (part.from > from) return { to: part.from };
        if (part.error.code === 'EMISSING' && (await this.#isMoved())) return { to: from };
        return { to: Math.min(part.to, last), error: part.error };
      }
      at = to;
    }
    return { to: last };
  }

  #groupBytes({ from, to }: Group): number {
    return (to - from) * this.#inode.unitSizeBytes;
  }

  async #readGroup(group: Group, signal: AbortSignal | undefined): Promise<ReadGroup> {
    const first = await this.#tryGroup(group, signal);
    const isGone = first.pieces.some(({ error }) => error?.code === 'EMISSING');
    if (!isGone || !(await this.#isMoved(first.release))) return first;
    return await this.#tryGroup(group, signal);
  }

  /**
   * Reads the inode again, and returns whether there is a newer version with the same content: from then on
   * that is read. Rejects with ECONFLICT when the content is another.
   *
   * @param release gives back what was read from the old version; called if there is a newer one.
   */
  async #isMoved(release: () => void = () => undefined): Promise<boolean> {
    const now = await this.#revalidate?.().catch(() => undefined);
    if (now === undefined || now.version === this.#inode.version) return false;
    release();
    if (now.dataVersion !== this.#inode.dataVersion) {
      throw new NetsealError('ECONFLICT', 'the file was changed while it was being read: read it again');
    }
    this.#inode = now;
    return true;
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
    const isEmpty = requests.length === 0;
    return { pieces: joinHoles(pieces), isEmpty, release };
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
