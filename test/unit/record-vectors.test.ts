/** Every file of vectors/unit, under every combination of providers. */
import { createHash } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { fromHex, toHex } from '../../src/base/bytes.ts';
import { NonceSource } from '../../src/unit/nonces.ts';
import { RecordKey } from '../../src/unit/record-key.ts';
import { Sealer } from '../../src/unit/seal.ts';
import {
  type FailureCase,
  formatCase,
  type GoldenCase,
  makePlain,
  type RecordCase,
  readCases,
} from '../../vectors/case.ts';
import { makeUnitCases } from '../../vectors/generate.ts';
import { errorCodeOf } from '../support/errors.ts';
import { shareAtOddOffset } from '../support/property.ts';
import { EVERY_PROVIDERS } from '../support/providers.ts';
import { openAs } from '../support/reader.ts';

const COMMITTED = readCases<RecordCase>('unit');
const GOLDEN = [...COMMITTED].filter((entry): entry is [string, GoldenCase] => entry[1].expect === 'success');
const FAILURES = [...COMMITTED].filter(
  (entry): entry is [string, FailureCase] => entry[1].expect !== 'success',
);
const MARK = 0xa5;

let generated: Map<string, RecordCase>;
beforeAll(async () => {
  generated = await makeUnitCases(false);
});

it('the committed files are what the generator makes', () => {
  expect([...generated.keys()].sort()).toEqual([...COMMITTED.keys()].sort());
  for (const [name, unitCase] of generated) {
    expect(formatCase(unitCase), name).toBe(formatCase(COMMITTED.get(name) as RecordCase));
  }
});

it('there is a failure for every code that a record can cause, and a success for every suite and codec', () => {
  const codes = new Set(FAILURES.map(([, { expect: code }]) => code));
  expect([...codes].sort()).toEqual(['EAUTH', 'EFORMAT', 'EKEY', 'ETRUNCATED', 'EUNSUPPORTED']);
  expect(new Set(GOLDEN.map(([, { suite, codec }]) => `${suite} ${codec}`)).size).toBe(6);
});

/** The whole record: from the file, or put together again from its parts when it is too long for one. */
function sealedOf(golden: GoldenCase): Uint8Array {
  if (golden.sealed !== undefined) return Buffer.from(golden.sealed, 'base64');
  const { providers } = EVERY_PROVIDERS[0]!;
  return seal(golden, withPayload(golden, providers));
}

type Chosen = (typeof EVERY_PROVIDERS)[number]['providers'];

/** Providers whose compressor gives the case's own payload. */
function withPayload(golden: GoldenCase, providers: Chosen): Chosen {
  const { payload } = golden;
  if (payload === undefined) return providers;
  const codec = {
    ...providers.codec('zstd'),
    compress: () => new Uint8Array(Buffer.from(payload, 'base64')),
  };
  return { ...providers, codec: () => codec };
}

function seal(golden: GoldenCase, providers: Chosen): Uint8Array {
  const key = new RecordKey(
    { ...golden, volumeId: fromHex(golden.volumeId), objectId: fromHex(golden.objectId) },
    fromHex(golden.epochKey),
    providers.suite(golden.suite),
  );
  expect(toHex(key.commitment)).toBe(golden.commitment);
  const out = new Uint8Array(golden.plainBytes + 65_536 + 72);
  const sealer = new Sealer(providers, new NonceSource(target => target.set(fromHex(golden.nonce))));
  const plain = makePlain(golden.plain, golden.plainBytes);
  const lengthBytes = sealer.seal(key, golden, setting(golden), plain, out, golden.flags);
  return out.subarray(0, lengthBytes);
}

function setting({ codec, level, padding }: GoldenCase) {
  return { codec: { codec, level }, padding };
}

function hash(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

describe.each(EVERY_PROVIDERS)('$name', ({ providers }) => {
  it.each(GOLDEN)('%s seals to the same bytes', (_name, golden) => {
    const sealed = seal(golden, withPayload(golden, providers));
    expect(sealed.byteLength).toBe(golden.sealedBytes);
    expect(hash(sealed)).toBe(golden.sealedSha256);
  });

  it.each(GOLDEN)('%s opens', (_name, golden) => {
    const record = shareAtOddOffset(sealedOf(golden), 5);
    const out = shareAtOddOffset(new Uint8Array(golden.openBytesMax).fill(MARK), 3);
    const tag = toHex(record.slice(-16));
    const opened = openAs({ ...golden, expectedTag: tag }, providers, record, out);
    expect(opened).toEqual({ plainBytes: golden.plainBytes, flags: golden.flags });
    expect(hash(out.slice(0, golden.plainBytes))).toBe(hash(makePlain(golden.plain, golden.plainBytes)));
    expect(out.subarray(golden.plainBytes).every(byte => byte === MARK)).toBe(true);
  });

  it.each(FAILURES)('%s is refused, and nothing released', (_name, failure) => {
    const record = new Uint8Array(Buffer.from(failure.sealed, 'base64'));
    const out = new Uint8Array(failure.openBytesMax).fill(MARK);
    expect(errorCodeOf(() => openAs(failure, providers, record, out))).toBe(failure.expect);
    expect(out.every(byte => byte === MARK)).toBe(true);
    expect(toHex(record)).toBe(Buffer.from(failure.sealed, 'base64').toString('hex'));
  });
});
