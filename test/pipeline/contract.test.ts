/** What a pipeline promises, held against one without workers, one with two, and one whose workers do without Atomics. */

import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { equalBytes } from '../../src/base/bytes.ts';
import { KIB, MIB } from '../../src/base/geometry.ts';
import { randomBytes } from '../../src/base/random.ts';
import { Keyring } from '../../src/keys/keyring.ts';
import type { KeyHandle } from '../../src/pipeline/key-table.ts';
import { openPipeline, type Pipeline } from '../../src/pipeline/pipeline.ts';
import type { OpenRequest, SealRequest } from '../../src/pipeline/requests.ts';
import { type CodecSetting, parseCodec } from '../../src/unit/codec.ts';
import { Opener } from '../../src/unit/open.ts';
import type { Padding } from '../../src/unit/padding.ts';
import { decodeHeader, RECORD_KINDS, type RecordKind, type SuiteName } from '../../src/unit/record-format.ts';
import { RecordKey } from '../../src/unit/record-key.ts';
import { checkAsyncProperty, contents } from '../support/property.ts';
import { NATIVE } from '../support/providers.ts';
import {
  expectIdle,
  mixedBytes,
  OBJECT_ID,
  openAll,
  type PlainUnit,
  plainOf,
  rejectionCode,
  type SealedCopy,
  sealAll,
  until,
} from './support.ts';

const MEMORY_BYTES = 16 * MIB;
const SLAB_BYTES = MEMORY_BYTES / 4;
const KINDS = Object.keys(RECORD_KINDS) as RecordKind[];

const keyring = new Keyring(
  randomBytes(16),
  new Map([1, 2, 2 ** 32 - 1].map(epoch => [epoch, randomBytes(32)])),
);

/** Opens one record on this thread, without any pipeline. */
function openAlone(copy: SealedCopy): Uint8Array {
  const header = decodeHeader(copy.record);
  const { suite, epoch } = header;
  const name = { volumeId: keyring.volumeId, objectId: copy.objectId, kind: copy.kind, suite, epoch };
  const key = new RecordKey(name, keyring.epochKey(epoch), NATIVE.suite(suite));
  const place = {
    index: copy.index,
    unitSizeLog2: copy.unitSizeBytes === 0 ? 0 : Math.log2(copy.unitSizeBytes),
  };
  const out = new Uint8Array(
    copy.unitSizeBytes === 0 ? Math.max(copy.plainBytes, copy.record.byteLength) : copy.unitSizeBytes,
  );
  const { plainBytes } = new Opener(NATIVE).open(header, key, place, copy.record, out);
  return out.subarray(0, plainBytes);
}

/** A request's units, with what all of them share. */
interface Case {
  readonly units: readonly PlainUnit[];
  readonly suite: SuiteName;
  readonly codec: CodecSetting;
  readonly padding: Padding;
}

const cases: fc.Arbitrary<Case> = fc.record({
  units: fc.array(
    fc
      .record({
        kind: fc.constantFrom(...KINDS),
        unitSizeLog2: fc.integer({ min: 12, max: 18 }),
        objectId: fc.constantFrom(OBJECT_ID, new Uint8Array(16), new Uint8Array(16).fill(255)),
        index: fc.oneof(fc.nat(9), fc.constant(Number.MAX_SAFE_INTEGER)),
        isLast: fc.boolean(),
      })
      .chain(({ unitSizeLog2, kind, isLast, ...place }) => {
        const isSized = kind === 'unit' || kind === 'streamUnit';
        return contents(kind === 'pack' ? 1 : 0, 2 ** unitSizeLog2).map(bytes => ({
          ...place,
          bytes,
          kind,
          unitSizeBytes: isSized ? 2 ** unitSizeLog2 : 0,
          isLast: kind === 'streamUnit' && isLast,
        }));
      }),
    { minLength: 1, maxLength: 12 },
  ),
  suite: fc.constantFrom('xaes-256-gcm', 'xchacha20-poly1305'),
  codec: fc.constantFrom(...['stored', 'zstd:1', 'zstd:3', 'deflate:1'].map(parseCodec)),
  padding: fc.constantFrom<Padding>('padme', 'none', 512, 4096),
});

describe.each([
  { name: 'no workers', workers: 0, atomics: true },
  { name: 'two workers', workers: 2, atomics: true },
  { name: 'two workers without Atomics', workers: 2, atomics: false },
])('a pipeline with $name', ({ workers, atomics }) => {
  let pipeline: Pipeline;
  let keys: KeyHandle;

  beforeAll(async () => {
    if (!atomics) process.env.PISCINA_DISABLE_ATOMICS = '1';
    pipeline = await openPipeline({ workers, memoryBytes: MEMORY_BYTES });
    delete process.env.PISCINA_DISABLE_ATOMICS;
    keys = pipeline.addKeyring(keyring);
  });
  afterEach(() => expectIdle(pipeline));
  afterAll(() => pipeline.close());

  it('says what it is', () => {
    expect(pipeline.workerCount).toBe(workers);
    expect(pipeline.providers).toEqual(NATIVE.report);
    expect(pipeline.memory.map(({ budgetBytes }) => budgetBytes).slice(0, 4)).toEqual(
      Array.from({ length: 4 }, () => SLAB_BYTES),
    );
  });

  it('gives back what it was given: any sizes, kinds, suites, codecs and objects, and so does a lone opener', async () => {
    await checkAsyncProperty(cases, async ({ units, ...setting }) => {
      const sealed = await sealAll(pipeline, keys, units, setting);
      const opened = await openAll(pipeline, keys, sealed);
      expect(opened).toEqual(units.map(({ bytes, isLast = false }) => ({ bytes, isLast })));
      for (const [at, copy] of sealed.entries()) {
        const { suite, epoch, sealedLengthBytes } = decodeHeader(copy.record);
        expect({ suite, epoch, sealedLengthBytes }).toEqual({
          suite: setting.suite,
          epoch: 2 ** 32 - 1,
          sealedLengthBytes: copy.record.byteLength,
        });
        expect(copy.tag).toEqual(copy.record.slice(-16));
        expect(openAlone(copy)).toEqual(units[at]?.bytes);
      }
      expectIdle(pipeline);
    });
  });

  it('a request over many jobs keeps the order of its units', async () => {
    const plains = Array.from({ length: 600 }, (_, at) => ({ bytes: mixedBytes(100 + at * 9, at) }));
    const sealed = await sealAll(pipeline, keys, plains);
    expect(plainOf(await openAll(pipeline, keys, sealed.slice(0, 60)))).toEqual(
      plains.slice(0, 60).map(({ bytes }) => bytes),
    );
    for (const [at, copy] of sealed.entries())
      if (at % 20 === 0) expect(openAlone(copy)).toEqual(plains[at]?.bytes);
  });

  it('a request may have 4096 units, and the largest unit that fits the slab', async () => {
    const many = Array.from({ length: 4096 }, (_, at) => ({
      bytes: Uint8Array.of(at, at >> 8),
      unitSizeBytes: 4096,
    }));
    const sealed = await sealAll(pipeline, keys, many, { padding: 'none' });
    expect(sealed).toHaveLength(4096);
    expect(openAlone(sealed[4095]!)).toEqual(many[4095]?.bytes);
    const large = [{ bytes: mixedBytes(2 * MIB, 1), unitSizeBytes: 2 * MIB }];
    const [opened] = plainOf(await openAll(pipeline, keys, await sealAll(pipeline, keys, large)));
    expect(equalBytes(opened!, large[0]!.bytes)).toBe(true);
  });

  it('all-zero units are holes if asked for, and only then', async () => {
    const zero = new Uint8Array(64 * KIB);
    const almost = zero.slice();
    almost[zero.byteLength - 1] = 1;
    const plains = [zero, almost, zero.subarray(0, 5), mixedBytes(70, 1), new Uint8Array(0), zero].map(
      bytes => ({ bytes }),
    );
    const withHoles = await sealAll(pipeline, keys, plains, { holes: true });
    expect(withHoles.map(({ isHole }) => isHole)).toEqual([true, false, true, false, true, true]);
    for (const { record, tag } of withHoles.filter(({ isHole }) => isHole)) {
      expect(record).toHaveLength(0);
      expect(tag).toEqual(new Uint8Array(16));
    }
    const rest = withHoles.filter(({ isHole }) => !isHole);
    expect(plainOf(await openAll(pipeline, keys, rest))).toEqual([almost, plains[3]?.bytes]);
    const without = await sealAll(pipeline, keys, plains);
    expect(without.every(({ isHole }) => !isHole)).toBe(true);
    expect(plainOf(await openAll(pipeline, keys, without))).toEqual(plains.map(({ bytes }) => bytes));
  });

  it('records end with the last byte that is not zero, if holes are asked for, and only then', async () => {
    const bytes = new Uint8Array(60 * KIB);
    bytes.set(mixedBytes(1000, 1));
    bytes[999] = 7;
    const [short] = await sealAll(pipeline, keys, [{ bytes }], { holes: true, padding: 'none' });
    const [long] = await sealAll(pipeline, keys, [{ bytes }], { padding: 'none' });
    expect(plainOf(await openAll(pipeline, keys, [short!]))).toEqual([bytes.subarray(0, 1000)]);
    expect(plainOf(await openAll(pipeline, keys, [long!]))).toEqual([bytes]);
  });

  it('packs are sealed whatever they hold, beside units that become holes', async () => {
    const zero = new Uint8Array(64 * KIB);
    const plains = [{ bytes: zero }, { bytes: zero, kind: 'pack', index: 0, unitSizeBytes: 0 }] as const;
    const sealed = await sealAll(pipeline, keys, plains, { holes: true });
    expect(sealed.map(({ isHole }) => isHole)).toEqual([true, false]);
    expect(plainOf(await openAll(pipeline, keys, sealed.slice(1)))).toEqual([zero]);
  });

  it('a request of holes only keeps no memory', async () => {
    const from = await pipeline.reservePlain(64 * KIB);
    from.bytes.fill(0);
    const unit = { objectId: OBJECT_ID, kind: 'unit', unitSizeBytes: 4 * KIB, lengthBytes: 4 * KIB } as const;
    const units = Array.from({ length: 16 }, (_, at) => ({ ...unit, index: at, offsetBytes: at * 4 * KIB }));
    const batch = await pipeline.seal({ keys, from, units, holes: true });
    from.release();
    expectIdle(pipeline);
    batch.release();
  });

  it('units are opened on the calling thread as by workers, with the same errors, beside other requests', async () => {
    const plains = [mixedBytes(40_000, 1), mixedBytes(300, 2), new Uint8Array(0)].map(bytes => ({ bytes }));
    const sealed = await sealAll(pipeline, keys, plains);
    const [first, second, third] = sealed;
    const damaged = { ...second!, record: second!.record.slice() };
    damaged.record[damaged.record.byteLength - 20]! ^= 1;
    const mixed = [first!, damaged, { ...third!, expectedTag: new Uint8Array(16) }];
    const both = await Promise.all([true, false].map(inline => openAll(pipeline, keys, mixed, { inline })));
    expect(both[0]).toEqual(both[1]);
    expect(both[0]?.map(unit => ('code' in unit ? unit.code : 'ok'))).toEqual(['ok', 'EAUTH', 'EAUTH']);
    expect(plainOf(await openAll(pipeline, keys, sealed, { inline: true }))).toEqual(
      plains.map(({ bytes }) => bytes),
    );
    const signal = AbortSignal.abort(new Error('told'));
    await expect(openAll(pipeline, keys, sealed, { inline: true, signal })).rejects.toThrow('told');
    expectIdle(pipeline);
    expect(pipeline.isIdle).toBe(true);
  });

  it('the expected tag must match', async () => {
    const [old] = await sealAll(pipeline, keys, [{ bytes: mixedBytes(5000, 1) }]);
    const [now] = await sealAll(pipeline, keys, [{ bytes: mixedBytes(5000, 2) }]);
    const opened = await openAll(pipeline, keys, [
      { ...now!, expectedTag: now!.tag },
      { ...old!, expectedTag: now!.tag },
      old!,
    ]);
    expect(opened).toEqual([
      { bytes: mixedBytes(5000, 2), isLast: false },
      { code: 'EAUTH' },
      { bytes: mixedBytes(5000, 1), isLast: false },
    ]);
  });

  it('a damaged unit fails alone, with a named error, and its neighbours open', async () => {
    const plains = Array.from({ length: 40 }, (_, at) => ({ bytes: mixedBytes(8 * KIB, at) }));
    const sealed = await sealAll(pipeline, keys, plains);
    const damage: Record<number, (copy: SealedCopy) => Partial<SealedCopy>> = {
      1: ({ record }) => ({ record: record.map((byte, at) => (at === 100 ? byte ^ 1 : byte)) }),
      3: ({ record }) => ({ record: record.map((byte, at) => (at === 0 ? byte ^ 1 : byte)) }),
      5: ({ record }) => ({ record: record.subarray(0, record.byteLength - 1) }),
      7: ({ record }) => ({ record: record.map((byte, at) => (at === 4 ? 9 : byte)) }),
      9: () => ({ index: 10 }),
      11: () => ({ kind: 'streamUnit' }),
      13: () => ({ objectId: new Uint8Array(16) }),
      15: ({ record }) => ({ record: record.map((byte, at) => (at === 8 ? 7 : byte)) }),
      17: () => ({ unitSizeBytes: 4 * KIB }),
      39: ({ record }) => ({
        record: record.map((byte, at) => (at === record.byteLength - 1 ? byte ^ 128 : byte)),
      }),
    };
    const codes: Record<number, string> = {
      3: 'EFORMAT',
      5: 'ETRUNCATED',
      7: 'EUNSUPPORTED',
      15: 'EKEY',
      17: 'EFORMAT',
    };
    const opened = await openAll(
      pipeline,
      keys,
      sealed.map((copy, at) => ({ ...copy, ...damage[at]?.(copy) })),
    );
    for (const [at, unit] of opened.entries()) {
      if (damage[at] === undefined) expect(unit).toEqual({ bytes: plains[at]?.bytes, isLast: false });
      else expect(unit, `unit ${at}`).toEqual({ code: codes[at] ?? 'EAUTH' });
    }
  });

  it("another volume's keys, an epoch that is not there, removed and foreign handles do not open", async () => {
    const plains = [{ bytes: mixedBytes(100, 1) }, { bytes: mixedBytes(100, 2) }];
    const sealed = await sealAll(pipeline, keys, plains);
    const sameEpoch = new Keyring(keyring.volumeId, new Map([[2 ** 32 - 1, randomBytes(32)]]));
    const wrong = pipeline.addKeyring(sameEpoch);
    expect(await openAll(pipeline, wrong, sealed)).toEqual([{ code: 'EAUTH' }, { code: 'EAUTH' }]);
    const otherEpoch = pipeline.addKeyring(Keyring.create());
    expect(await openAll(pipeline, otherEpoch, sealed)).toEqual([{ code: 'EKEY' }, { code: 'EKEY' }]);
    pipeline.removeKeyring(wrong);
    pipeline.removeKeyring(otherEpoch);
    expect(await openAll(pipeline, wrong, sealed)).toEqual([{ code: 'EKEY' }, { code: 'EKEY' }]);
    expect(await rejectionCode(sealAll(pipeline, wrong, plains))).toBe('EKEY');
    const foreign = { ...keys, id: 2 ** 31 - 1 };
    expect(await rejectionCode(sealAll(pipeline, foreign, plains))).toBe('EKEY');
    expect(plainOf(await openAll(pipeline, keys, sealed))).toEqual(plains.map(({ bytes }) => bytes));
  });

  it('records stay as they are until their batch is released, whatever else goes on', async () => {
    const batches = [];
    for (let at = 0; at < 20; at += 1) {
      const from = await pipeline.reservePlain(32 * KIB);
      from.bytes.set(mixedBytes(32 * KIB, at));
      const unit = { objectId: OBJECT_ID, kind: 'unit', index: at, unitSizeBytes: 32 * KIB } as const;
      const batch = await pipeline.seal({
        keys,
        from,
        units: [{ ...unit, offsetBytes: 0, lengthBytes: 32 * KIB }],
      });
      from.release();
      batches.push({ batch, unit, copy: batch.units[0]!.bytes.slice(), tag: batch.units[0]!.tag });
      await sealAll(pipeline, keys, [{ bytes: mixedBytes(60 * KIB, at + 100) }]);
    }
    for (const { batch, unit, copy, tag } of batches) {
      expect(batch.units[0]!.bytes).toEqual(copy);
      const record = { ...unit, record: copy, tag, isHole: false, plainBytes: 32 * KIB, isLast: false };
      expect(openAlone(record)).toEqual(mixedBytes(32 * KIB, unit.index));
      batch.release();
      batch.release();
    }
  });

  it('trimmed records of several jobs do not touch: each batch is whole though all lie side by side', async () => {
    const from = await pipeline.reservePlain(1 * MIB);
    for (let at = 0; at < 16; at += 1) from.bytes.set(mixedBytes(64 * KIB, at), at * 64 * KIB);
    const unit = {
      objectId: OBJECT_ID,
      kind: 'unit',
      unitSizeBytes: 64 * KIB,
      lengthBytes: 64 * KIB,
    } as const;
    const units = Array.from({ length: 16 }, (_, at) => ({ ...unit, index: at, offsetBytes: at * 64 * KIB }));
    const batches = [];
    // The third would not fit if the first two had kept their whole room.
    for (let round = 0; round < 4; round += 1)
      batches.push(await pipeline.seal({ keys, from, units, padding: 'none' }));
    for (const batch of batches) {
      for (const [at, { bytes, tag }] of batch.units.entries()) {
        const record = {
          ...units[at]!,
          record: bytes.slice(),
          tag,
          isHole: false,
          plainBytes: 64 * KIB,
          isLast: false,
        };
        expect(equalBytes(openAlone(record), mixedBytes(64 * KIB, at))).toBe(true);
      }
      batch.release();
    }
    from.release();
  });

  it('a batch that is held stays readable after its release until it is let go', async () => {
    const [copy] = await sealAll(pipeline, keys, [{ bytes: mixedBytes(100, 1) }]);
    const from = await pipeline.reserveSealed(copy!.record.byteLength);
    from.bytes.set(copy!.record);
    const { objectId, kind, index, unitSizeBytes } = copy!;
    const unit = {
      objectId,
      kind,
      index,
      unitSizeBytes,
      offsetBytes: 0,
      lengthBytes: copy!.record.byteLength,
    };
    const batch = await pipeline.open({ keys, from, units: [unit] });
    from.release();
    const unhold = batch.hold();
    batch.release();
    expect(pipeline.memory.find(({ name }) => name === 'opened')?.usedBytes).toBeGreaterThan(0);
    expect(batch.units[0]).toMatchObject({ bytes: mixedBytes(100, 1) });
    unhold();
  });

  it('the lease may be released at once, and units, ids, tags and settings changed: the call has its own', async () => {
    const plain = mixedBytes(4096, 7);
    const from = await pipeline.reservePlain(8192);
    from.bytes.set(plain);
    const objectId = Uint8Array.from(OBJECT_ID);
    const unit = {
      objectId,
      kind: 'unit' as RecordKind,
      index: 3,
      unitSizeBytes: 4096,
      offsetBytes: 0,
      lengthBytes: 4096,
    };
    const units = [unit];
    const codec = { ...parseCodec('zstd:1') };
    const sealing = pipeline.seal({ keys, from, units, codec });
    from.release();
    objectId.fill(9);
    Object.assign(unit, { index: 4, offsetBytes: 4 * MIB, lengthBytes: 1, kind: 'inode' });
    Object.assign(codec, { codec: 'none', level: 77 });
    units.length = 0;
    const batch = await sealing;
    const record = batch.units[0]!.bytes.slice();
    const { tag } = batch.units[0]!;
    batch.release();
    const copy = {
      objectId: OBJECT_ID,
      kind: 'unit',
      index: 3,
      unitSizeBytes: 4096,
      record,
      tag,
      isLast: false,
    } as const;
    expect(openAlone({ ...copy, isHole: false, plainBytes: 4096 })).toEqual(plain);

    const sealed = await pipeline.reserveSealed(record.byteLength);
    sealed.bytes.set(record);
    const expectedTag = tag.slice();
    const toOpen = [
      {
        ...copy,
        objectId: Uint8Array.from(OBJECT_ID),
        expectedTag,
        offsetBytes: 0,
        lengthBytes: record.byteLength,
      },
    ];
    const opening = pipeline.open({ keys, from: sealed, units: toOpen });
    sealed.release();
    expectedTag.fill(0);
    toOpen[0]!.objectId.fill(0);
    toOpen.pop();
    const opened = await opening;
    expect(opened.units).toMatchObject([{ bytes: plain }]);
    opened.release();
  });

  it('five hundred callers at once stay within the budget and all finish', async () => {
    let mostUsed = 0;
    const watch = (): void => {
      for (const { usedBytes, budgetBytes } of pipeline.memory) {
        expect(usedBytes).toBeLessThanOrEqual(budgetBytes);
        mostUsed = Math.max(mostUsed, usedBytes);
      }
    };
    const callers = Array.from({ length: 500 }, async (_, at) => {
      const lengthBytes = 1 + ((at * 7919) % (256 * KIB));
      const plain = mixedBytes(lengthBytes, at);
      const [copy] = await sealAll(pipeline, keys, [{ bytes: plain, unitSizeBytes: 256 * KIB }], {
        codec: parseCodec('stored'),
      });
      watch();
      if (at % 5 !== 0) return;
      const [opened] = plainOf(await openAll(pipeline, keys, [copy!]));
      watch();
      expect(Buffer.compare(opened!, plain)).toBe(0);
    });
    await Promise.all(callers);
    // Otherwise nobody had to wait, and nothing was tried.
    expect(mostUsed).toBeGreaterThan(SLAB_BYTES / 2);
  });

  it('a full sealing side does not stop opening, nor the other way round', async () => {
    const [copy] = await sealAll(pipeline, keys, [{ bytes: mixedBytes(5000, 1) }]);
    const plain = await pipeline.reservePlain(SLAB_BYTES);
    const stuck = sealAll(pipeline, keys, [{ bytes: mixedBytes(100, 1) }]);
    expect(plainOf(await openAll(pipeline, keys, [copy!]))).toEqual([mixedBytes(5000, 1)]);
    plain.release();
    const sealed = await pipeline.reserveSealed(SLAB_BYTES);
    const stuckToo = openAll(pipeline, keys, [copy!]);
    expect(await stuck).toHaveLength(1);
    expect(await sealAll(pipeline, keys, [{ bytes: mixedBytes(100, 1) }])).toHaveLength(1);
    sealed.release();
    expect(await stuckToo).toHaveLength(1);
  });

  it('an open behind a long seal is done long before it', async () => {
    const [copy] = await sealAll(pipeline, keys, [{ bytes: mixedBytes(3000, 1) }]);
    const place = {
      objectId: OBJECT_ID,
      kind: 'unit',
      unitSizeBytes: 128 * KIB,
      lengthBytes: 128 * KIB,
    } as const;
    const units = Array.from({ length: 24 }, (_, at) => ({
      ...place,
      index: at,
      offsetBytes: at * 128 * KIB,
    }));
    const from = await pipeline.reservePlain(24 * 128 * KIB);
    from.bytes.set(mixedBytes(from.lengthBytes, 1));
    const order: string[] = [];
    const sealing = units.map(unit =>
      pipeline.seal({ keys, from, units: [unit], codec: parseCodec('stored') }),
    );
    const batches = sealing.map(async each => {
      const batch = await each;
      order.push('long');
      return batch;
    });
    const opening = openAll(pipeline, keys, [copy!]).then(() => order.push('short'));
    await opening;
    // The workers had four when it came, and then took turns.
    expect(order.length).toBeLessThan(12);
    for (const batch of await Promise.all(batches)) batch.release();
    from.release();
  });

  it('what can never fit is EINVAL at once, even while others wait', async () => {
    const whole = await pipeline.reservePlain(SLAB_BYTES);
    const waiting = pipeline.reservePlain(1);
    expect(await rejectionCode(pipeline.reservePlain(SLAB_BYTES + 1))).toBe('EINVAL');
    expect(await rejectionCode(pipeline.reserveSealed(SLAB_BYTES + 1))).toBe('EINVAL');
    // Its records would not fit, though the plain bytes do.
    const unit = { objectId: OBJECT_ID, kind: 'unit', index: 0, offsetBytes: 0 } as const;
    const units = [{ ...unit, unitSizeBytes: SLAB_BYTES, lengthBytes: SLAB_BYTES }];
    expect(await rejectionCode(pipeline.seal({ keys, from: whole, units }))).toBe('EINVAL');
    whole.release();
    (await waiting).release();
    const from = await pipeline.reserveSealed(1000);
    const tooLong = [{ ...unit, unitSizeBytes: 16 * MIB, lengthBytes: 1000 }];
    expect(await rejectionCode(pipeline.open({ keys, from, units: tooLong }))).toBe('EINVAL');
    from.release();
  });

  describe('bad arguments are EINVAL and take nothing', () => {
    const goodUnit = {
      objectId: OBJECT_ID,
      kind: 'unit' as RecordKind,
      index: 0,
      unitSizeBytes: 4096,
      offsetBytes: 0,
      lengthBytes: 4096,
    };
    const badUnits: Record<string, object> = {
      'object id too short': { objectId: new Uint8Array(15) },
      'object id too long': { objectId: new Uint8Array(17) },
      'unknown kind': { kind: 'page' },
      'kind of every object': { kind: 'toString' },
      'negative index': { index: -1 },
      'fractional index': { index: 0.5 },
      'index 2^53': { index: 2 ** 53 },
      'index NaN': { index: Number.NaN },
      'unit size not a power of two': { unitSizeBytes: 5000 },
      'unit size too small': { unitSizeBytes: 2048 },
      'unit size too large': { unitSizeBytes: 32 * MIB },
      'unit size 0 for a unit': { unitSizeBytes: 0 },
      'unit size for an inode': { kind: 'inode' },
      'negative offset': { offsetBytes: -1 },
      'fractional offset': { offsetBytes: 0.5 },
      'offset NaN': { offsetBytes: Number.NaN },
      'offset beyond the lease': { offsetBytes: 8193 - 4096 },
      'offset 2^53': { offsetBytes: 2 ** 53 },
      'negative length': { lengthBytes: -1 },
      'fractional length': { lengthBytes: 100.5 },
      'length NaN': { lengthBytes: Number.NaN },
      'length beyond the lease': { lengthBytes: 8193 },
    };
    const badSealUnits: Record<string, object> = {
      ...badUnits,
      'length beyond the unit': { lengthBytes: 4097 },
      'a last unit that is no stream unit': { isLast: true },
    };
    const badOpenUnits: Record<string, object> = {
      ...badUnits,
      'a record shorter than any': { lengthBytes: 71 },
      'expected tag too short': { expectedTag: new Uint8Array(15) },
      'expected tag too long': { expectedTag: new Uint8Array(17) },
      'no longest plain content for an inode': { kind: 'inode', unitSizeBytes: 0 },
      'longest plain content 0': { plainBytesMax: 0 },
      'longest plain content fractional': { plainBytesMax: 0.5 },
      'longest plain content over the unit size': { plainBytesMax: 4097 },
      'longest plain content over 16 MiB': { kind: 'inode', unitSizeBytes: 0, plainBytesMax: 16 * MIB + 1 },
    };
    const badSettings: Record<string, object> = {
      'unknown suite': { suite: 'rot13' },
      'suite of every object': { suite: 'constructor' },
      'unknown codec': { codec: { codec: 'lzma', level: 1 } },
      'level too high': { codec: { codec: 'zstd', level: 20 } },
      'level 0': { codec: { codec: 'deflate', level: 0 } },
      'level NaN': { codec: { codec: 'zstd', level: Number.NaN } },
      'level for stored': { codec: { codec: 'stored', level: 1 } },
      'padding 0': { padding: 0 },
      'padding no power of two': { padding: 3 },
      'padding too large': { padding: 128 * KIB },
      'padding by another name': { padding: 'padmé' },
      'padding above the unit': { padding: 8192 },
      'an empty pack': { units: [{ ...goodUnit, kind: 'pack', unitSizeBytes: 0, lengthBytes: 0 }] },
      'a pack with a unit size': { units: [{ ...goodUnit, kind: 'pack' }] },
      'holes in a stream': { holes: true, units: [{ ...goodUnit, kind: 'streamUnit' }] },
      'holes among inodes': { holes: true, units: [{ ...goodUnit, kind: 'inode', unitSizeBytes: 0 }] },
    };
    const badForBoth: Record<string, object> = {
      'no units': { units: [] },
      'too many units': { units: Array.from({ length: 4097 }, () => ({ ...goodUnit, lengthBytes: 72 })) },
      'handle 0': { keys: { id: 0, newestEpoch: 0, volumeId: OBJECT_ID } },
      'a handle of nothing': { keys: {} },
      'a fractional handle': { keys: { id: 1.5, newestEpoch: 1, volumeId: OBJECT_ID } },
    };

    function unitsAsRequests(units: Record<string, object>): Record<string, object> {
      return Object.fromEntries(
        Object.entries(units).map(([name, bad]) => [name, { units: [goodUnit, { ...goodUnit, ...bad }] }]),
      );
    }

    it.each(Object.entries({ ...unitsAsRequests(badSealUnits), ...badSettings, ...badForBoth }))(
      'seal: %s',
      async (_, bad) => {
        const from = await pipeline.reservePlain(8192);
        const before = pipeline.memory;
        const request = { keys, from, units: [goodUnit], ...bad } as SealRequest;
        expect(await rejectionCode(pipeline.seal(request))).toBe('EINVAL');
        expect(pipeline.memory).toEqual(before);
        from.release();
      },
    );

    it.each(Object.entries({ ...unitsAsRequests(badOpenUnits), ...badForBoth }))(
      'open: %s',
      async (_, bad) => {
        const from = await pipeline.reserveSealed(8192);
        const before = pipeline.memory;
        const request = { keys, from, units: [goodUnit], ...bad } as OpenRequest;
        expect(await rejectionCode(pipeline.open(request))).toBe('EINVAL');
        expect(pipeline.memory).toEqual(before);
        from.release();
      },
    );

    it.each([
      ['an unknown kind', 'page', 'xaes-256-gcm', OBJECT_ID],
      ['a kind of every object', 'constructor', 'xaes-256-gcm', OBJECT_ID],
      ['an unknown suite', 'unit', 'rot13', OBJECT_ID],
      ['an id too short', 'unit', 'xaes-256-gcm', OBJECT_ID.subarray(1)],
    ])('keyCommitment: %s', (_, kind, suite, objectId) => {
      expect(() =>
        pipeline.keyCommitment(keys, {
          epoch: 1,
          kind: kind as RecordKind,
          suite: suite as SuiteName,
          objectId,
        }),
      ).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    });

    it('a lease of the other direction, or released, or of an output', async () => {
      const plain = await pipeline.reservePlain(8192);
      const sealed = await pipeline.reserveSealed(8192);
      const units = [goodUnit];
      expect(await rejectionCode(pipeline.seal({ keys, from: sealed, units }))).toBe('EINVAL');
      expect(await rejectionCode(pipeline.open({ keys, from: plain, units }))).toBe('EINVAL');
      plain.release();
      sealed.release();
      expect(await rejectionCode(pipeline.seal({ keys, from: plain, units }))).toBe('EINVAL');
      expect(await rejectionCode(pipeline.open({ keys, from: sealed, units }))).toBe('EINVAL');
    });
  });

  it('removing a keyring while units are in flight fails them with EKEY or lets them finish, and nothing else', async () => {
    const results: Promise<unknown>[] = [];
    for (let round = 0; round < 10; round += 1) {
      const own = pipeline.addKeyring(Keyring.create());
      results.push(
        ...Array.from({ length: 10 }, (_, at) =>
          sealAll(pipeline, own, [{ bytes: mixedBytes(30 * KIB, at), objectId: randomBytes(16) }]).catch(
            error => {
              expect(error).toMatchObject({ code: 'EKEY' });
            },
          ),
        ),
      );
      await results[round * 10];
      pipeline.removeKeyring(own);
    }
    await Promise.all(results);
    await until(() => pipeline.memory.every(({ usedBytes }) => usedBytes === 0));
  });
});

it('records sealed with and without workers open with the other', async () => {
  const pipelines = await Promise.all(
    [0, 1].map(workers => openPipeline({ workers, memoryBytes: MEMORY_BYTES })),
  );
  const keys = pipelines.map(pipeline => pipeline.addKeyring(keyring));
  const plains = Array.from({ length: 8 }, (_, at) => ({ bytes: mixedBytes(at * 5000, at) }));
  for (const from of [0, 1]) {
    const sealed = await sealAll(pipelines[from]!, keys[from]!, plains);
    expect(plainOf(await openAll(pipelines[1 - from]!, keys[1 - from]!, sealed))).toEqual(
      plains.map(({ bytes }) => bytes),
    );
    const request = pipelines[1 - from]!.reservePlain(100).then(async lease => {
      const unit = {
        objectId: OBJECT_ID,
        kind: 'unit',
        index: 0,
        unitSizeBytes: 4096,
        offsetBytes: 0,
        lengthBytes: 100,
      } as const;
      await pipelines[from]!.seal({ keys: keys[from]!, from: lease, units: [unit] });
    });
    expect(await rejectionCode(request), "another pipeline's lease").toBe('EINVAL');
    expect(
      await rejectionCode(sealAll(pipelines[from]!, keys[1 - from]!, plains)),
      "another pipeline's keys",
    ).toBe('EKEY');
  }
  await Promise.all(pipelines.map(pipeline => pipeline.close()));
});
