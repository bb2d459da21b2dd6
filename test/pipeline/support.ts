/** What the pipeline's tests share: contents, requests as one call, and a look at what is still lent. */
import { expect, it } from 'vitest';
import type { CallOptions } from '../../src/base/call-options.ts';
import { type ErrorCode, isNetsealError } from '../../src/base/errors.ts';
import type { KeyHandle } from '../../src/pipeline/key-table.ts';
import type { Pipeline } from '../../src/pipeline/pipeline.ts';
import type { OpenRequest, SealRequest } from '../../src/pipeline/requests.ts';
import type { RecordKind } from '../../src/unit/record-format.ts';

/** A test that only some cases of a suite have. */
export function testIf(condition: boolean, name: string, body: () => Promise<void>): void {
  if (condition) it(name, body);
}

/** Bytes that only `seed` decides: the first half compressible, the second not. Never all zero. */
export function mixedBytes(lengthBytes: number, seed: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(lengthBytes);
  let state = Math.imul(seed + 1, 0x9e3779b1) | 1;
  for (let at = 0; at < lengthBytes; at += 1) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[at] = at < lengthBytes / 2 ? 97 + (seed % 26) : state;
  }
  return bytes;
}

export const OBJECT_ID: Uint8Array = Uint8Array.from({ length: 16 }, (_, at) => at + 1);

/** A unit to seal, by its content. */
export interface PlainUnit {
  readonly bytes: Uint8Array;
  readonly index?: number;
  readonly objectId?: Uint8Array;
  readonly kind?: RecordKind;
  readonly unitSizeBytes?: number;
  readonly isLast?: boolean;
}

/** A record with what is needed to open it. */
export interface SealedCopy extends Required<Omit<PlainUnit, 'bytes'>> {
  readonly record: Uint8Array;
  readonly tag: Uint8Array;
  readonly isHole: boolean;
  readonly plainBytes: number;
}

type SealOptions = Omit<SealRequest, 'keys' | 'from' | 'units'> & CallOptions;

/** Seals some units in one request, copies the records out and gives all memory back. */
export async function sealAll(
  pipeline: Pipeline,
  keys: KeyHandle,
  plains: readonly PlainUnit[],
  { signal, ...setting }: SealOptions = {},
): Promise<SealedCopy[]> {
  const totalBytes = plains.reduce((sum, { bytes }) => sum + bytes.byteLength, 0);
  const from = await pipeline.reservePlain(Math.max(1, totalBytes), { signal });
  try {
    let offsetBytes = 0;
    const units = plains.map((plain, at) => {
      from.bytes.set(plain.bytes, offsetBytes);
      const unit = {
        objectId: plain.objectId ?? OBJECT_ID,
        kind: plain.kind ?? 'unit',
        index: plain.index ?? at,
        unitSizeBytes: plain.unitSizeBytes ?? 64 * 1024,
        isLast: plain.isLast ?? false,
        offsetBytes,
        lengthBytes: plain.bytes.byteLength,
      } as const;
      offsetBytes += plain.bytes.byteLength;
      return unit;
    });
    const batch = await pipeline.seal({ keys, from, units, ...setting }, { signal });
    try {
      return batch.units.map(({ bytes, tag, isHole }, at) => {
        const { offsetBytes: _, lengthBytes, ...place } = units[at]!;
        return { ...place, record: bytes.slice(), tag, isHole, plainBytes: lengthBytes };
      });
    } finally {
      batch.release();
    }
  } finally {
    from.release();
  }
}

/** What came of opening one record. */
export type OpenedCopy =
  | { readonly bytes: Uint8Array; readonly isLast: boolean }
  | { readonly code: ErrorCode };

/** Opens some records in one request, copies the plain bytes out and gives all memory back. */
export async function openAll(
  pipeline: Pipeline,
  keys: KeyHandle,
  records: readonly (SealedCopy & { readonly expectedTag?: Uint8Array })[],
  { signal, inline = false }: CallOptions & { readonly inline?: boolean } = {},
): Promise<OpenedCopy[]> {
  const totalBytes = records.reduce((sum, { record }) => sum + record.byteLength, 0);
  const from = await pipeline.reserveSealed(totalBytes, { signal });
  try {
    let offsetBytes = 0;
    const units: OpenRequest['units'] = records.map(copy => {
      from.bytes.set(copy.record, offsetBytes);
      const { objectId, kind, index, unitSizeBytes, expectedTag, record, plainBytes } = copy;
      const unit = {
        ...{ objectId, kind, index, unitSizeBytes, offsetBytes, lengthBytes: record.byteLength },
        ...(expectedTag === undefined ? {} : { expectedTag }),
        ...(unitSizeBytes === 0 ? { plainBytesMax: Math.max(1, plainBytes) } : {}),
      };
      offsetBytes += record.byteLength;
      return unit;
    });
    const batch = await pipeline.open({ keys, from, units, inline }, { signal });
    try {
      return batch.units.map(unit =>
        unit.error === undefined
          ? { bytes: unit.bytes.slice(), isLast: unit.isLast }
          : { code: unit.error.code },
      );
    } finally {
      batch.release();
    }
  } finally {
    from.release();
  }
}

/** The plain bytes of units that must all have opened. */
export function plainOf(opened: readonly OpenedCopy[]): Uint8Array[] {
  return opened.map(unit => ('code' in unit ? expect.fail(`a unit failed with ${unit.code}`) : unit.bytes));
}

/** The code of the NetsealError that `promise` rejects with; fails when it resolves or rejects with anything else. */
export async function rejectionCode(promise: Promise<unknown>): Promise<ErrorCode> {
  try {
    await promise;
  } catch (error) {
    if (isNetsealError(error)) return error.code;
    throw error;
  }
  return expect.fail('nothing was rejected');
}

/** Fails unless every byte of every slab is free and nobody waits. */
export function expectIdle(pipeline: Pipeline): void {
  const use = pipeline.memory.map(({ name, usedBytes, waiterCount }) => ({ name, usedBytes, waiterCount }));
  expect(use).toEqual(use.map(({ name }) => ({ name, usedBytes: 0, waiterCount: 0 })));
}

/** One round of the event loop: every promise that could settle has settled. */
export function nextTurn(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve));
}

/** Waits for something that nothing announces; fails after `limitMs`. */
export async function until(condition: () => boolean, limitMs = 10_000): Promise<void> {
  const deadline = performance.now() + limitMs;
  while (!condition()) {
    if (performance.now() > deadline) expect.fail(`not within ${limitMs} ms: ${condition}`);
    await nextTurn();
  }
}
