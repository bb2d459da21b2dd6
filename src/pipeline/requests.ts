/** What the pipeline is asked for and what it gives back. */
import { type NetsealError, requireArgument } from '../base/errors.ts';
import { BLOCK_BYTES_DEFAULT, checkBlockSize, UNIT_BYTES_MAX, unitSizeToLog2 } from '../base/geometry.ts';
import { ID_BYTES } from '../base/ids.ts';
import { CODEC_DEFAULT, type CodecSetting, checkCodec } from '../unit/codec.ts';
import {
  CODEC_IDS,
  checkKind,
  parseSuite,
  RECORD_OVERHEAD_BYTES,
  SUITE_DEFAULT,
  type SuiteName,
  TAG_BYTES,
} from '../unit/record-format.ts';
import { sealedBytesMax } from '../unit/seal.ts';
import type { UnitAt } from './job.ts';
import type { KeyHandle } from './key-table.ts';
import type { Lease } from './slab.ts';

export interface UnitToSeal extends UnitAt {
  /** Marks the end of a stream; stream units only. */
  readonly isLast?: boolean;
}

export interface SealRequest {
  /** From `addKeyring`; the newest epoch is used. */
  readonly keys: KeyHandle;
  /** From `reservePlain`; its bytes must hold still until the call has settled. */
  readonly from: Lease;
  readonly units: readonly UnitToSeal[];
  /** Default `xaes-256-gcm`. */
  readonly suite?: SuiteName;
  /** Default zstd:1. */
  readonly codec?: CodecSetting;
  /** What stored payloads are padded to; at most the unit size. Default 4 KiB. */
  readonly blockSizeBytes?: number;
  /**
   * True: an all-zero unit becomes a hole, for which nothing is sealed; the caller's extent map must say so. Units
   * only: a stream or an inode has nowhere to say it. Default false.
   */
  readonly holes?: boolean;
}

/** One sealed unit. */
export interface SealedUnit {
  /** The record, in shared memory, valid until the batch is released. Empty for a hole. */
  readonly bytes: Uint8Array;
  /** 16 bytes of the caller's own: what an extent map keeps to know this version by. Zero for a hole. */
  readonly tag: Uint8Array;
  readonly isHole: boolean;
}

export interface UnitToOpen extends UnitAt {
  /** The longest plain content that this place may have: at most, and by default, the unit size. Needed for other kinds. */
  readonly plainBytesMax?: number;
  /** 16 bytes: the version that it must be. */
  readonly expectedTag?: Uint8Array;
}

export interface OpenRequest {
  /** From `addKeyring`. */
  readonly keys: KeyHandle;
  /** From `reserveSealed`; its bytes must hold still until the call has settled. */
  readonly from: Lease;
  readonly units: readonly UnitToOpen[];
}

/** One unit that was asked for: opened, or the reason why not. One that fails does not stop the others. */
export type OpenedUnit =
  | {
      /** The plain bytes, in shared memory, valid until the batch is released. */
      readonly bytes: Uint8Array;
      readonly isLast: boolean;
      readonly error?: undefined;
    }
  | { readonly error: NetsealError };

/**
 * What a request gives back: one result a unit, in the order of the request, and the shared memory that they lie in.
 * Whoever asked owns that memory until `release()`.
 */
export class ResultBatch<Unit> {
  readonly units: readonly Unit[];
  readonly #lease: Lease;

  /** @internal Made by `seal` and `open` only. */
  constructor(units: readonly Unit[], lease: Lease) {
    this.units = units;
    this.#lease = lease;
  }

  /**
   * Says that an operation still reads the memory: it stays as it is until the hold ends, even when the batch is released.
   *
   * @returns what ends this hold. Calling it again does nothing.
   */
  hold(): () => void {
    return this.#lease.hold();
  }

  /** Gives the memory back; the units' bytes must not be used any more. Calling it again does nothing. */
  release(): void {
    this.#lease.release();
  }

  [Symbol.dispose](): void {
    this.release();
  }
}

/** What `seal` gives back. */
export type SealedBatch = ResultBatch<SealedUnit>;

/** What `open` gives back. A unit in it may have failed: see {@link OpenedUnit}. */
export type OpenedBatch = ResultBatch<OpenedUnit>;

/** More units than this are a request too many: they would crowd the job slab. */
export const REQUEST_UNITS_MAX = 4096;

/** A seal request with every default filled in and every value checked. */
export interface CheckedSeal {
  readonly suite: SuiteName;
  readonly codec: CodecSetting;
  readonly blockSizeBytes: number;
  readonly holes: boolean;
  readonly units: readonly UnitToSeal[];
  /** The room that each unit may need. */
  readonly roomBytes: readonly number[];
}

/** An open request with every value checked. */
export interface CheckedOpen {
  readonly units: readonly UnitToOpen[];
  /** The room that each unit may need. */
  readonly roomBytes: readonly number[];
}

/**
 * EINVAL unless everything in the request is in range. The result is a copy: the request waits, and what its caller
 * does to its own arrays meanwhile must not matter.
 */
export function checkSeal(request: SealRequest): CheckedSeal {
  const { suite = SUITE_DEFAULT, holes = false, blockSizeBytes = BLOCK_BYTES_DEFAULT } = request;
  const codec = { ...(request.codec ?? CODEC_DEFAULT) };
  parseSuite(suite);
  requireArgument(Object.hasOwn(CODEC_IDS, codec.codec), `unknown codec "${codec.codec}"`);
  checkCodec(codec);
  checkHandle(request.keys);
  checkCount(request.units.length);
  const units = copyUnits(request.units);
  const roomBytes = units.map(unit => {
    checkUnit(unit, request.from);
    const longestBytes = longestPlainBytes(unit);
    checkBlockSize(blockSizeBytes, longestBytes);
    requireArgument(
      unit.lengthBytes <= longestBytes,
      `unit ${unit.index}: ${unit.lengthBytes} bytes do not fit a unit of ${longestBytes}`,
    );
    requireArgument(
      unit.isLast !== true || unit.kind === 'streamUnit',
      `unit ${unit.index}: only stream units can be marked last, not kind ${unit.kind}`,
    );
    requireArgument(
      !holes || unit.kind === 'unit',
      `unit ${unit.index}: only units can be holes, not kind ${unit.kind}`,
    );
    return sealedBytesMax(unit.lengthBytes, blockSizeBytes);
  });
  return { suite, codec, blockSizeBytes, holes, units, roomBytes };
}

/** As {@link checkSeal}. */
export function checkOpen(request: OpenRequest): CheckedOpen {
  checkHandle(request.keys);
  checkCount(request.units.length);
  const units = copyUnits(request.units).map(unit =>
    unit.expectedTag === undefined ? unit : { ...unit, expectedTag: unit.expectedTag.slice() },
  );
  const roomBytes = units.map(unit => {
    checkUnit(unit, request.from);
    const { plainBytesMax = unit.unitSizeBytes, expectedTag } = unit;
    const longestBytes = longestPlainBytes(unit);
    requireArgument(
      Number.isInteger(plainBytesMax) && plainBytesMax > 0 && plainBytesMax <= longestBytes,
      `unit ${unit.index}: the longest plain content must be 1 to ${longestBytes} bytes, not ${plainBytesMax}`,
    );
    requireArgument(
      unit.lengthBytes >= RECORD_OVERHEAD_BYTES,
      `unit ${unit.index}: a record has at least ${RECORD_OVERHEAD_BYTES} bytes, not ${unit.lengthBytes}`,
    );
    requireArgument(
      expectedTag === undefined || expectedTag.byteLength === TAG_BYTES,
      `unit ${unit.index}: an expected tag must be ${TAG_BYTES} bytes`,
    );
    return plainBytesMax;
  });
  return { units, roomBytes };
}

/** Units of one object share one copy of its id. */
function copyUnits<Unit extends UnitAt>(units: readonly Unit[]): Unit[] {
  let lastId: Uint8Array | undefined;
  let copiedId = new Uint8Array(0);
  return units.map(unit => {
    if (unit.objectId !== lastId) {
      lastId = unit.objectId;
      copiedId = new Uint8Array(lastId);
    }
    return { ...unit, objectId: copiedId };
  });
}

/** What the format allows at this place: the unit size, or 16 MiB where there is none. */
function longestPlainBytes({ unitSizeBytes }: UnitAt): number {
  return unitSizeBytes === 0 ? UNIT_BYTES_MAX : unitSizeBytes;
}

function checkHandle({ id }: KeyHandle): void {
  requireArgument(
    Number.isInteger(id) && id > 0,
    `keys must be a handle from addKeyring, not one of id ${id}`,
  );
}

function checkCount(unitCount: number): void {
  requireArgument(
    unitCount >= 1 && unitCount <= REQUEST_UNITS_MAX,
    `a request takes 1 to ${REQUEST_UNITS_MAX} units, not ${unitCount}`,
  );
}

function checkUnit(unit: UnitAt, lease: Lease): void {
  const { objectId, kind, index, unitSizeBytes, offsetBytes, lengthBytes } = unit;
  checkKind(kind);
  requireArgument(objectId.byteLength === ID_BYTES, `object id must be 16 bytes, not ${objectId.byteLength}`);
  requireArgument(
    Number.isSafeInteger(index) && index >= 0,
    `unit index must be a safe integer from 0, not ${index}`,
  );
  if (kind === 'unit' || kind === 'streamUnit') unitSizeToLog2(unitSizeBytes);
  else requireArgument(unitSizeBytes === 0, `records of kind ${kind} have unit size 0, not ${unitSizeBytes}`);
  requireArgument(
    Number.isSafeInteger(offsetBytes) &&
      offsetBytes >= 0 &&
      Number.isSafeInteger(lengthBytes) &&
      lengthBytes >= 0,
    `unit ${index}: offset ${offsetBytes} and length ${lengthBytes} must be integers from 0`,
  );
  requireArgument(
    offsetBytes + lengthBytes <= lease.lengthBytes,
    `unit ${index}: bytes [${offsetBytes}, ${offsetBytes + lengthBytes}) lie outside a lease of ${lease.lengthBytes}`,
  );
}
