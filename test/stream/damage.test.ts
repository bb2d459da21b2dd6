/** Sealed streams that are not whole: a named error, everything before it, and nothing after it. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { concatBytes, viewOf } from '../../src/base/bytes.ts';
import { isNetsealError } from '../../src/base/errors.ts';
import { KIB } from '../../src/base/geometry.ts';
import { Keyring } from '../../src/keys/keyring.ts';
import { openStream } from '../../src/pipeline/open-stream.ts';
import {
  decodeStreamHeader,
  encodeStreamHeader,
  STREAM_HEADER_BYTES,
} from '../../src/pipeline/stream-format.ts';
import { expectIdle, sealAll } from '../pipeline/support.ts';
import { IS_LONG } from '../support/soak.ts';
import {
  type Bench,
  collect,
  cut,
  expectSame,
  mixedBytes,
  openBench,
  openBytes,
  partsOf,
  SMALL,
  sealBytes,
} from './support.ts';

const UNIT_BYTES = 4 * KIB;
/** Three whole units and a bit, which compress to next to nothing. */
const PLAIN = new TextEncoder().encode('all work and no play makes Jack '.repeat(400));

let bench: Bench;
let sealed: Uint8Array<ArrayBuffer>;
let header: Uint8Array;
let records: Uint8Array[];

beforeAll(async () => {
  bench = await openBench();
  sealed = await sealBytes(bench, PLAIN, SMALL);
  ({ header, records } = partsOf(sealed));
  expect(records).toHaveLength(4);
});

afterAll(async () => {
  expectIdle(bench.pipeline);
  await bench.pipeline.close();
});

/** Fails unless exactly these units come out before this error. */
async function expectFailure(
  damaged: Uint8Array | readonly Uint8Array[],
  code: string,
  goodUnits: number,
): Promise<void> {
  const outcome = await openBytes(bench, damaged);
  expect([outcome.code, outcome.bytes.byteLength]).toEqual([
    code,
    Math.min(goodUnits * UNIT_BYTES, PLAIN.byteLength),
  ]);
  expectSame(outcome.bytes, PLAIN.subarray(0, outcome.bytes.byteLength));
}

/** The number of whole records in the first `lengthBytes` of the stream. */
function wholeRecords(lengthBytes: number): number {
  let end = STREAM_HEADER_BYTES;
  return records.filter(record => {
    end += record.byteLength;
    return end <= lengthBytes;
  }).length;
}

describe('truncation', () => {
  it.runIf(IS_LONG)('at every byte of a small stream', async () => {
    for (let lengthBytes = 0; lengthBytes < sealed.byteLength; lengthBytes += 1) {
      await expectFailure(sealed.subarray(0, lengthBytes), 'ETRUNCATED', wholeRecords(lengthBytes));
    }
  });

  it('at every record of a stream of several batches', async () => {
    const plain = mixedBytes(3_000_000, 1);
    const long = partsOf(await sealBytes(bench, plain, { ...SMALL, unitSizeBytes: 64 * KIB }));
    expect(long.records.length).toBeGreaterThan(40);
    for (let count = 0; count < long.records.length; count += 1) {
      const { code, bytes } = await openBytes(bench, [long.header, ...long.records.slice(0, count)]);
      expect(code).toBe('ETRUNCATED');
      expectSame(bytes, plain.subarray(0, count * 64 * KIB));
    }
  });
});

describe('flipped bits', () => {
  /** The code that this bit's flip leads to; what comes out before it are whole units. */
  async function codeOfFlip(stream: Uint8Array, bit: number, plain: Uint8Array): Promise<string> {
    const damaged = stream.slice();
    damaged[bit >> 3]! ^= 1 << (bit & 7);
    const { error, bytes } = await openBytes(bench, damaged);
    if (!isNetsealError(error)) expect.fail(`bit ${bit}: ${String(error)}`);
    // Whoever reads EKEY looks for another passphrase; past the header there is none to look for.
    if (bit >= STREAM_HEADER_BYTES * 8) expect(error.code, `bit ${bit}`).not.toBe('EKEY');
    expect(bytes.byteLength % UNIT_BYTES, `bit ${bit}`).toBe(0);
    expectSame(bytes, plain.subarray(0, bytes.byteLength));
    return error.code;
  }

  it.runIf(IS_LONG)('every bit of a stream of one byte', async () => {
    const plain = PLAIN.subarray(0, 1);
    const tiny = await sealBytes(bench, plain, SMALL);
    const codes = new Set<string>();
    for (let bit = 0; bit < tiny.byteLength * 8; bit += 1) codes.add(await codeOfFlip(tiny, bit, plain));
    expect([...codes].sort()).toEqual(['EAUTH', 'EFORMAT', 'EKEY', 'ETRUNCATED', 'EUNSUPPORTED']);
  });

  it.runIf(IS_LONG)(
    'a bit of every byte of several records: everything before that record comes out',
    async () => {
      for (let at = 0; at < sealed.byteLength; at += 1) {
        await codeOfFlip(sealed, at * 8 + (at % 8), PLAIN);
        const damaged = sealed.slice();
        damaged[at]! ^= 0x80 >> (at % 8);
        expect((await openBytes(bench, damaged)).bytes.byteLength).toBe(wholeRecords(at) * UNIT_BYTES);
      }
    },
  );
});

describe('bytes after the end', () => {
  it.each([1, 15, 16, 17, 71, 72, 100_000])('%i zeros', async lengthBytes => {
    const trailing = new Uint8Array(lengthBytes);
    await expectFailure([sealed, trailing], 'EFORMAT', 4);
    await expectFailure(concatBytes(sealed, trailing), 'EFORMAT', 4);
  });

  it('another record, another stream, a record of a newer version', async () => {
    const newer = records[3]!.slice();
    newer[4] = 2;
    for (const trailing of [records[0]!, records[3]!, sealed, newer]) {
      await expectFailure([sealed, trailing], 'EFORMAT', 4);
      await expectFailure(cut(concatBytes(sealed, trailing), [11]), 'EFORMAT', 4);
    }
  });
});

describe('records out of place', () => {
  const arrangements: [string, readonly number[], string, number][] = [
    ['two swapped', [1, 0, 2, 3], 'EAUTH', 0],
    ['the middle swapped', [0, 2, 1, 3], 'EAUTH', 1],
    ['the first twice', [0, 0, 1, 2, 3], 'EAUTH', 1],
    ['the last twice', [0, 1, 2, 3, 3], 'EFORMAT', 4],
    ['the first dropped', [1, 2, 3], 'EAUTH', 0],
    ['one dropped', [0, 2, 3], 'EAUTH', 1],
    ['the last dropped', [0, 1, 2], 'ETRUNCATED', 3],
    ['the last first', [3, 0, 1, 2], 'EAUTH', 0],
  ];
  it.each(arrangements)('%s', async (_, order, code, goodUnits) => {
    await expectFailure([header, ...order.map(at => records[at]!)], code, goodUnits);
  });

  it('from another stream of the same volume', async () => {
    const other = partsOf(await sealBytes(bench, PLAIN, SMALL));
    for (const at of records.keys()) {
      const spliced = records.map((record, index) => (index === at ? other.records[at]! : record));
      await expectFailure([header, ...spliced], 'EAUTH', at);
    }
    await expectFailure([header, ...other.records], 'EAUTH', 0);
    await expectFailure([other.header, ...records], 'EAUTH', 0);
  });

  it('from another volume', async () => {
    const keys = bench.pipeline.addKeyring(Keyring.create());
    const other = await sealBytes({ ...bench, keys }, PLAIN, SMALL);
    await expectFailure([header, records[0]!, ...partsOf(other).records.slice(1)], 'EAUTH', 1);
    await expectFailure(other, 'EKEY', 0);
    await expectFailure([header.subarray(0, 16), other.subarray(16)], 'EKEY', 0);
    bench.pipeline.removeKeyring(keys);
  });
});

describe('another header', () => {
  const changes: [string, number, number[], string][] = [
    ['magic', 0, [0x4e], 'EFORMAT'],
    ['version 0', 4, [0], 'EUNSUPPORTED'],
    ['version 2', 4, [2], 'EUNSUPPORTED'],
    ['the other suite', 5, [2], 'EKEY'],
    ['an unknown suite', 5, [3], 'EUNSUPPORTED'],
    ['units of 8 KiB', 6, [13], 'EAUTH'],
    ['units of 16 MiB', 6, [24], 'EAUTH'],
    ['units of 2 KiB', 6, [11], 'EFORMAT'],
    ['units of 32 MiB', 6, [25], 'EFORMAT'],
    ['units of 2^255', 6, [255], 'EFORMAT'],
    ['reserved byte', 7, [1], 'EFORMAT'],
    ['epoch 0', 8, [0], 'EKEY'],
    ['epoch 2', 8, [2], 'EKEY'],
    ['reserved word', 12, [0, 0, 0, 1], 'EFORMAT'],
    ['volume id', 16, Array(16).fill(0), 'EKEY'],
    ['object id', 32, Array(16).fill(0), 'EKEY'],
    ['commitment', 48, Array(32).fill(0), 'EKEY'],
  ];
  it.each(changes)('%s', async (_, offset, bytes, code) => {
    const changed = header.slice();
    changed.set(bytes, offset);
    await expectFailure([changed, ...records], code, 0);
  });

  it('the right commitment of another object does not help', async () => {
    const other = decodeStreamHeader(await sealBytes(bench, new Uint8Array(0), SMALL));
    await expectFailure([encodeStreamHeader(other), ...records], 'EAUTH', 0);
  });

  it('a header is what it was made of', () => {
    const fields = decodeStreamHeader(header);
    expect(fields).toMatchObject({ suite: 'xaes-256-gcm', unitSizeBytes: UNIT_BYTES, epoch: 1 });
    expect(fields.volumeId).toEqual(bench.keyring.volumeId);
    expect(encodeStreamHeader(fields)).toEqual(header);
  });
});

describe('the wrong key', () => {
  it('of the same volume: EKEY at the header, before any record is looked at', async () => {
    const impostor = new Keyring(bench.keyring.volumeId, new Map([[1, new Uint8Array(32)]]));
    const keys = bench.pipeline.addKeyring(impostor);
    const { readable, writable } = openStream({ ...bench, keys });
    const outcome = collect(readable);
    await expect(writable.getWriter().write(header)).rejects.toMatchObject({ code: 'EKEY' });
    expect(await outcome).toMatchObject({ code: 'EKEY', chunks: [] });
    bench.pipeline.removeKeyring(keys);
  });

  it('keys that were removed', async () => {
    const keys = bench.pipeline.addKeyring(bench.keyring);
    bench.pipeline.removeKeyring(keys);
    expect(await openBytes({ ...bench, keys }, sealed)).toMatchObject({ code: 'EKEY', chunks: [] });
    await expect(sealBytes({ ...bench, keys }, PLAIN)).rejects.toMatchObject({ code: 'EKEY' });
  });
});

describe('what only a holder of the key can make', () => {
  /** A stream of units as long as given; the last one of `isLast` says so. */
  async function forge(
    lengths: readonly number[],
    kind: 'streamUnit' | 'unit' = 'streamUnit',
    mark = lengths.length - 1,
  ): Promise<Uint8Array[]> {
    const { objectId } = decodeStreamHeader(header);
    const units = lengths.map((lengthBytes, index) => ({
      ...{
        bytes: PLAIN.subarray(index * UNIT_BYTES, index * UNIT_BYTES + lengthBytes),
        objectId,
        kind,
        index,
      },
      ...{ unitSizeBytes: UNIT_BYTES, isLast: kind === 'streamUnit' && index === mark },
    }));
    const forged = await sealAll(bench.pipeline, bench.keys, units, { padding: 'none' });
    return [header, ...forged.map(({ record }) => record)];
  }

  it('the forger makes good streams, too', async () => {
    const { bytes, error } = await openBytes(bench, await forge([UNIT_BYTES, 7]));
    expect(error).toBeUndefined();
    expectSame(bytes, PLAIN.subarray(0, UNIT_BYTES + 7));
  });

  it('a short unit in the middle', async () => {
    await expectFailure(await forge([UNIT_BYTES, 100, UNIT_BYTES]), 'EFORMAT', 1);
  });
  it('an empty unit after others', async () => {
    await expectFailure(await forge([UNIT_BYTES, 0]), 'EFORMAT', 1);
  });
  it('an empty unit that is not the last', async () => {
    await expectFailure(await forge([0, UNIT_BYTES]), 'EFORMAT', 0);
  });
  it('an end in the middle', async () => {
    await expectFailure(await forge([UNIT_BYTES, UNIT_BYTES, UNIT_BYTES], 'streamUnit', 1), 'EFORMAT', 2);
  });
  it('records of another kind', async () => {
    await expectFailure(await forge([UNIT_BYTES], 'unit'), 'EAUTH', 0);
  });
  it('a record longer than its unit can be', async () => {
    const long = records[0]!.slice();
    viewOf(long).setUint32(12, UNIT_BYTES + 73, true);
    await expectFailure([header, long, new Uint8Array(2 * UNIT_BYTES)], 'EFORMAT', 0);
  });
});

it('a reader that takes its time gets everything before the fault', async () => {
  const plain = mixedBytes(2_000_000, 3);
  const long = partsOf(await sealBytes(bench, plain, SMALL));
  const bad = 400;
  long.records[bad] = long.records[bad]!.slice().fill(1, 50);
  const { readable, writable } = openStream({ ...bench });
  const written = ReadableStream.from([concatBytes(long.header, ...long.records)]).pipeTo(writable);
  const writeError = expect(written).rejects.toMatchObject({ code: 'EAUTH' });
  const reader = readable.getReader();
  const chunks: Uint8Array[] = [];
  const takeAll = async (): Promise<void> => {
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      chunks.push(next.value);
      // Time for whatever is going to happen without this reader's doing.
      for (let turn = 0; turn < 20; turn += 1) await new Promise(resolve => setImmediate(resolve));
    }
  };
  await expect(takeAll()).rejects.toMatchObject({ code: 'EAUTH' });
  await writeError;
  expectSame(concatBytes(...chunks), plain.subarray(0, bad * UNIT_BYTES));
});
