import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { viewOf } from '../../src/base/bytes.ts';
import {
  Job,
  jobBytes,
  OPERATION_OPEN,
  OPERATION_SEAL,
  OUTCOME_FAILED,
  OUTCOME_NONE,
  UNIT_EXPECT_TAG,
  UNIT_HOLES,
} from '../../src/pipeline/job.ts';
import type { Padding } from '../../src/unit/padding.ts';
import {
  CODEC_IDS,
  type CodecName,
  RECORD_KINDS,
  type RecordKind,
  SUITE_IDS,
  type SuiteName,
} from '../../src/unit/record-format.ts';
import { errorCodeOf } from '../support/errors.ts';
import { checkProperty } from '../support/property.ts';

/** An integer from `min` to `max` with its ends and the corners of 31 and 32 bits. */
function extreme(max: number, min = 0): fc.Arbitrary<number> {
  const corners = [min, max, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32].filter(
    value => value >= min && value <= max,
  );
  return fc.oneof(fc.constantFrom(...corners), fc.integer({ min, max }));
}

const U32 = 2 ** 32 - 1;
const id16 = fc.uint8Array({ minLength: 16, maxLength: 16 });
const units = fc.record({
  objectId: id16,
  tag: id16,
  kind: fc.constantFrom(...(Object.keys(RECORD_KINDS) as RecordKind[])),
  index: extreme(Number.MAX_SAFE_INTEGER),
  unitSizeLog2: fc.constantFrom(0, 12, 24),
  inputOffset: extreme(U32),
  inputBytes: extreme(U32),
  outputOffset: extreme(U32),
  outputBytes: extreme(U32),
  requestFlags: fc.constantFrom(0, UNIT_HOLES, UNIT_EXPECT_TAG, 255),
  recordFlags: extreme(255),
  outcome: fc.constantFrom(OUTCOME_NONE, OUTCOME_FAILED, 255),
});
const jobs = fc.record({
  operation: fc.constantFrom(OPERATION_SEAL, OPERATION_OPEN),
  keyHandleId: extreme(U32),
  outputOffset: extreme(U32),
  outputBytes: extreme(U32),
  setting: fc.record({
    suite: fc.constantFrom(...(Object.keys(SUITE_IDS) as SuiteName[])),
    codec: fc.record({
      codec: fc.constantFrom(...(Object.keys(CODEC_IDS) as CodecName[])),
      level: extreme(19),
    }),
    epoch: extreme(U32),
    padding: fc.constantFrom<Padding>('padme', 'none', 2, 4096, 65_536),
  }),
  units: fc.array(units, { minLength: 1, maxLength: 5 }),
});

describe('job fields', () => {
  it('come back as they were written, through another view, with dirty memory before and after untouched', () => {
    checkProperty(jobs, ({ operation, keyHandleId, outputOffset, outputBytes, setting, units: list }) => {
      const room = jobBytes(list.length);
      const memory = new SharedArrayBuffer(room + 192);
      const bytes = new Uint8Array(memory).fill(0xa5);
      const job = new Job(memory, 64);
      job.start(operation, list.length, keyHandleId, outputOffset, outputBytes);
      job.sealSetting = setting;
      for (const [at, unit] of list.entries()) {
        const fields = job.unit(at);
        fields.setOutput(unit.outputOffset, unit.outputBytes);
        const { unitSizeLog2, inputOffset, inputBytes, ...place } = unit;
        const base = Math.min(inputOffset, 4096);
        fields.setRequest(
          {
            ...place,
            unitSizeBytes: unitSizeLog2 === 0 ? 0 : 2 ** unitSizeLog2,
            offsetBytes: inputOffset - base,
            lengthBytes: inputBytes,
          },
          base,
          unit.requestFlags,
          unit.recordFlags,
        );
        fields.tag.set(unit.tag);
        fields.outcome = unit.outcome;
      }

      const read = new Job(memory, 64);
      const { operation: o, keyHandleId: k, outputOffset: p, outputBytes: q, sealSetting, unitCount } = read;
      expect({
        operation: o,
        keyHandleId: k,
        outputOffset: p,
        outputBytes: q,
        setting: sealSetting,
        unitCount,
      }).toEqual({
        ...{ operation, keyHandleId, outputOffset, outputBytes, setting },
        unitCount: list.length,
      });
      expect(read.isCancelled).toBe(false);
      for (const [at, unit] of list.entries()) {
        const fields = read.unit(at);
        for (const name of Object.keys(unit) as (keyof typeof unit)[])
          expect(fields[name]).toEqual(unit[name]);
      }
      expect(bytes.subarray(0, 64).every(byte => byte === 0xa5)).toBe(true);
      expect(bytes.subarray(64 + room).every(byte => byte === 0xa5)).toBe(true);
    });
  });

  it('cancelling one job changes no other field and no other job', () => {
    const memory = new SharedArrayBuffer(2 * jobBytes(1));
    const first = new Job(memory, 0);
    const second = new Job(memory, jobBytes(1));
    first.start(OPERATION_OPEN, 1, 7, 8, 9);
    second.start(OPERATION_OPEN, 1, 7, 8, 9);
    const before = new Uint8Array(memory).slice();
    first.cancel();
    expect([first.isCancelled, second.isCancelled]).toEqual([true, false]);
    before[0] = 1;
    expect(new Uint8Array(memory)).toEqual(new Uint8Array(before));
    first.start(OPERATION_OPEN, 1, 7, 8, 9);
    expect(first.isCancelled).toBe(false);
  });

  it('ids and indexes that no job of ours has are EBUG', () => {
    const memory = new SharedArrayBuffer(jobBytes(1));
    const job = new Job(memory, 0);
    job.start(OPERATION_SEAL, 1, 1, 0, 0);
    job.unit(0);
    expect(errorCodeOf(() => job.unit(0).kind)).toBe('EBUG');
    expect(errorCodeOf(() => job.sealSetting)).toBe('EBUG');
    viewOf(new Uint8Array(memory)).setUint32(64 + 4, 2 ** 21, true);
    expect(errorCodeOf(() => job.unit(0).index)).toBe('EBUG');
  });
});
