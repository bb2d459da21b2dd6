/** Requests to the pipeline, their checks, and their results. */
import { requireBytes, requireFlag, requireInteger, requireList, requireObject } from '../base/arguments.ts';
import { type NetsealError, requireArgument } from '../base/errors.ts';
import { unitSizeToLog2 } from '../base/geometry.ts';
import { ID_BYTES } from '../base/ids.ts';
import { CODEC_DEFAULT, type CodecSetting, checkCodec } from '../unit/codec.ts';
import { checkPadding, PADDING_DEFAULT, type Padding } from '../unit/padding.ts';
import {
  checkKind,
  parseSuite,
  plainBytesMaxOf,
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
  /** True for the last unit of a stream. Only stream units have it. */
  readonly isLast?: boolean;
}

export interface SealRequest {
  /** From `addKeyring`. The records are sealed under its newest epoch. */
  readonly keys: KeyHandle;
  /** From `reservePlain`. Its bytes must not change until the call has settled. */
  readonly from: Lease;
  readonly units: readonly UnitToSeal[];
  /** Default `xaes-256-gcm`. */
  readonly suite?: SuiteName;
  /** Default zstd:1. */
  readonly codec?: CodecSetting;
  /** How payloads are padded. A size is a power of two, at most 64 KiB and the unit size. Default `padme`. */
  readonly padding?: Padding;
  /**
   * True leaves out the zeros at the end of a unit, so that its record holds nothing beyond its last other byte
   * (a file that another client has cut meanwhile may end right there). An all-zero unit becomes a hole: nothing
   * is sealed for it, and the caller's extent map must say so. Allowed for kind `unit`, and beside units for
   * kind `pack`, which is sealed as it is; not for other kinds, because streams and inodes have no map and
   * nobody who knows how long a unit is. Default false.
   */
  readonly holes?: boolean;
}

/** The record of one unit, or a hole. */
export interface SealedUnit {
  /** The record, in shared memory; valid until the batch is released. Empty for a hole. */
  readonly bytes: Uint8Array;
  /**
   * The record's tag: 16 bytes that the caller owns. An extent map keeps it to know this version. Zero for a
   * hole.
   */
  readonly tag: Uint8Array;
  readonly isHole: boolean;
}

export interface UnitToOpen extends UnitAt {
  /**
   * The longest plain content that is expected here. For units it is the unit size by default, and at most
   * that. Kinds without a unit size need it: 1 byte to 16 MiB.
   */
  readonly plainBytesMax?: number;
  /** The tag of the version that this must be, 16 bytes. Without it, any version of this unit opens. */
  readonly expectedTag?: Uint8Array;
}

export interface OpenRequest {
  /** From `addKeyring`. */
  readonly keys: KeyHandle;
  /** From `reserveSealed`. Its bytes must not change until the call has settled. */
  readonly from: Lease;
  readonly units: readonly UnitToOpen[];
  /**
   * True opens the units on the calling thread, in one turn. A single small unit is there sooner than a worker could
   * be asked, and nothing else happens meanwhile. Default false.
   */
  readonly inline?: boolean;
}

/**
 * The result for one unit: its plain bytes, or the error that it failed with. A failure does not stop other
 * units.
 */
export type OpenedUnit =
  | {
      /** The plain bytes, in shared memory; valid until the batch is released. */
      readonly bytes: Uint8Array;
      readonly isLast: boolean;
      readonly error?: undefined;
    }
  | { readonly error: NetsealError };

/**
 * The results of a request: one for each unit, in the order of the request, and the shared memory that they
 * lie in. The caller owns that memory until it calls `release()`.
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
   * Keeps the memory as it is while an operation reads it, even if the batch is released meanwhile.
   *
   * @returns a function that ends this hold. Calling it again does nothing.
   */
  hold(): () => void {
    return this.#lease.hold();
  }

  /** Gives the memory back. Do not use the units' bytes after that. Calling it again does nothing. */
  release(): void {
    this.#lease.release();
  }

  [Symbol.dispose](): void {
    this.release();
  }
}

/** The results of `seal`. */
export type SealedBatch = ResultBatch<SealedUnit>;

/** The results of `open`. Single units may have failed; see {@link OpenedUnit}. */
export type OpenedBatch = ResultBatch<OpenedUnit>;

/** The most units in one request. The job slab has room for two such requests. */
export const REQUEST_UNITS_MAX = 4096;

/** A seal request with every default filled in and every value checked. */
export interface CheckedSeal {
  readonly suite: SuiteName;
  readonly codec: CodecSetting;
  readonly padding: Padding;
  readonly holes: boolean;
  readonly units: readonly UnitToSeal[];
  /** For each unit, the longest record that it may become. */
  readonly roomBytes: readonly number[];
}

/** An open request with every value checked. */
export interface CheckedOpen {
  readonly units: readonly UnitToOpen[];
  /** For each unit, the longest plain content that it may have. */
  readonly roomBytes: readonly number[];
  readonly inline: boolean;
}

/**
 * Fills in defaults and throws EINVAL unless every value is in range. Copies the units, because the request
 * may wait and its caller may change its own arrays meanwhile.
 */
export function checkSeal(request: SealRequest): CheckedSeal {
  const { suite = SUITE_DEFAULT, holes = false, padding = PADDING_DEFAULT } = request;
  const { codec: given = CODEC_DEFAULT } = request;
  parseSuite(suite);
  checkCodec(given);
  const codec = { ...given };
  requireFlag('holes', holes);
  checkHandle(request.keys);
  checkCount(request.units);
  const units = copyUnits(request.units);
  const roomBytes = units.map(unit => {
    checkUnit(unit, request.from);
    const longestBytes = plainBytesMaxOf(unit.kind, unit.unitSizeBytes);
    checkPadding(padding, longestBytes);
    requireArgument(
      unit.lengthBytes <= longestBytes,
      `unit ${unit.index}: ${unit.lengthBytes} bytes do not fit a unit of ${longestBytes}`,
    );
    requireArgument(unit.kind !== 'pack' || unit.lengthBytes > 0, 'a pack has at least 1 byte');
    requireArgument(
      unit.isLast !== true || unit.kind === 'streamUnit',
      `unit ${unit.index}: only stream units can be marked last, not kind ${unit.kind}`,
    );
    requireArgument(
      !holes || unit.kind === 'unit' || unit.kind === 'pack',
      `unit ${unit.index}: only units can be holes, not kind ${unit.kind}`,
    );
    return sealedBytesMax(unit.lengthBytes, padding);
  });
  return { suite, codec, padding, holes, units, roomBytes };
}

/** Checks and copies an open request, as {@link checkSeal} does. */
export function checkOpen(request: OpenRequest): CheckedOpen {
  checkHandle(request.keys);
  checkCount(request.units);
  const units = copyUnits(request.units).map(unit => {
    const { expectedTag } = unit;
    if (expectedTag === undefined) return unit;
    requireBytes(`unit ${unit.index}: expectedTag`, expectedTag, TAG_BYTES);
    return { ...unit, expectedTag: expectedTag.slice() };
  });
  const roomBytes = units.map(unit => {
    checkUnit(unit, request.from);
    const { plainBytesMax = unit.unitSizeBytes } = unit;
    const longestBytes = plainBytesMaxOf(unit.kind, unit.unitSizeBytes);
    requireArgument(
      Number.isInteger(plainBytesMax) && plainBytesMax > 0 && plainBytesMax <= longestBytes,
      `unit ${unit.index}: the longest plain content must be 1 to ${longestBytes} bytes, not ${plainBytesMax}`,
    );
    requireArgument(
      unit.lengthBytes >= RECORD_OVERHEAD_BYTES,
      `unit ${unit.index}: a record has at least ${RECORD_OVERHEAD_BYTES} bytes, not ${unit.lengthBytes}`,
    );
    return plainBytesMax;
  });
  const { inline = false } = request;
  requireFlag('inline', inline);
  return { units, roomBytes, inline };
}

/** Copies units and their object ids. Neighbours that share an id array share its copy. */
function copyUnits<Unit extends UnitAt>(units: readonly Unit[]): Unit[] {
  let lastId: Uint8Array | undefined;
  let copiedId = new Uint8Array(0);
  return units.map(unit => {
    requireObject('a unit', unit);
    if (unit.objectId !== lastId || lastId === undefined) {
      requireBytes('objectId', unit.objectId, ID_BYTES);
      lastId = unit.objectId;
      copiedId = new Uint8Array(lastId);
    }
    return { ...unit, objectId: copiedId };
  });
}

/** Throws EINVAL unless `keys` is a handle from `addKeyring`. */
export function checkHandle(keys: KeyHandle): void {
  requireObject('keys', keys);
  requireInteger('keys.id', keys.id, 1);
}

function checkCount(units: readonly unknown[]): void {
  requireList('units', units);
  const unitCount = units.length;
  requireArgument(
    unitCount >= 1 && unitCount <= REQUEST_UNITS_MAX,
    `a request takes 1 to ${REQUEST_UNITS_MAX} units, not ${unitCount}`,
  );
}

function checkUnit(unit: UnitAt, lease: Lease): void {
  const { kind, index, unitSizeBytes, offsetBytes, lengthBytes } = unit;
  checkKind(kind);
  requireInteger('unit index', index);
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
