/** Our own golden records: each suite and codec, at the edges of sizes, blocks, kinds, places and lengths. */
import { createHash } from 'node:crypto';
import { fromHex, toHex } from '../src/base/bytes.ts';
import type { Padding } from '../src/unit/padding.ts';
import {
  CODEC_IDS,
  type CodecName,
  RECORD_KINDS,
  type RecordKind,
  SUITE_IDS,
  type SuiteName,
} from '../src/unit/record-format.ts';
import { deriveByHand, layOutByHand, padByHand, sealByHand } from './by-hand.ts';
import { type GoldenCase, makePlain, type PlainRecipe } from './case.ts';

/** The file of a longer record has only its length and hash. */
const SEALED_IN_FILE_BYTES_MAX = 10_000;

export const READER = {
  epoch: 3,
  epochKey: '000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f',
  volumeId: '202122232425262728292a2b2c2d2e2f',
  objectId: '303132333435363738393a3b3c3d3e3f',
} as const;

/** The source that all our own cases name. */
export const OWN_SOURCE = 'netseal, docs/FORMAT.md, "Sealed record"; made by vectors/generate.ts';

interface Wish {
  readonly comment: string;
  readonly suite: SuiteName;
  readonly codec: CodecName;
  readonly level: number;
  readonly plain: PlainRecipe;
  readonly plainBytes: number;
  readonly padding: Padding;
  readonly kind: RecordKind;
  readonly flags: number;
  readonly index: number;
  readonly unitSizeLog2: number;
}

const SUITES = Object.keys(SUITE_IDS) as SuiteName[];
const SHORT = { 'xaes-256-gcm': 'xaes', 'xchacha20-poly1305': 'xchacha' } as const;
const PLAIN_WISH = { level: 0, kind: 'unit', flags: 0, index: 5, unitSizeLog2: 18 } as const;

/** Sizes at the edges of each padding. */
const STORED_SIZES: readonly (readonly [padding: Padding, sizes: readonly number[]])[] = [
  ['padme', [0, 1, 256, 257, 1000, 4096, 4097, 5000, 65_537, 262_144]],
  ['none', [0, 1, 17, 4095, 4096, 4097]],
  [512, [0, 1, 511, 512, 513]],
  [4096, [0, 1, 4095, 4096, 4097, 5000]],
  [65_536, [0, 1, 65_535, 65_536, 65_537]],
];

function* storedWishes(): Generator<[name: string, wish: Wish]> {
  for (const suite of SUITES) {
    for (const [padding, sizes] of STORED_SIZES) {
      for (const plainBytes of sizes) {
        yield [
          `${SHORT[suite]}-stored-${plainBytes}-padding-${padding}`,
          {
            ...PLAIN_WISH,
            comment: `${plainBytes} random bytes, stored, padding ${padding}`,
            suite,
            codec: 'stored',
            plain: 'random',
            plainBytes,
            padding,
          },
        ];
      }
    }
  }
}

function* compressedWishes(): Generator<[name: string, wish: Wish]> {
  for (const suite of SUITES) {
    for (const [codec, level] of [
      ['zstd', 1],
      ['zstd', 19],
      ['deflate', 1],
      ['deflate', 9],
    ] as const) {
      for (const [plain, plainBytes, padding] of [
        ['text', 300, 'padme'],
        ['text', 8192, 'padme'],
        ['text', 262_144, 'padme'],
        ['text', 300, 'none'],
        ['text', 1025, 512],
        ['text', 8192, 4096],
        ['zeros', 4096, 'none'],
        ['text', 262_144, 4096],
        ['text', 131_073, 65_536],
      ] as const) {
        yield [
          `${SHORT[suite]}-${codec}-${level}-${plain}-${plainBytes}-padding-${padding}`,
          {
            ...PLAIN_WISH,
            comment: `${plainBytes} bytes of ${plain} by ${codec} level ${level}, padding ${padding}`,
            suite,
            codec,
            level,
            plain,
            plainBytes,
            padding,
          },
        ];
      }
    }
  }
}

function* placeWishes(): Generator<[name: string, wish: Wish]> {
  const wish: Wish = {
    ...PLAIN_WISH,
    comment: '',
    suite: 'xaes-256-gcm',
    codec: 'stored',
    plain: 'text',
    plainBytes: 100,
    padding: 'none',
  };
  for (const kind of Object.keys(RECORD_KINDS) as RecordKind[]) {
    const unitSizeLog2 = kind === 'unit' || kind === 'streamUnit' ? 18 : 0;
    yield [`kind-${kind}`, { ...wish, comment: `a record of kind ${kind}`, kind, unitSizeLog2 }];
  }
  yield ['flag-last', { ...wish, comment: 'the last unit of a stream', kind: 'streamUnit', flags: 1 }];
  for (const index of [0, 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1, 2 ** 53 - 1]) {
    yield [`index-${index}`, { ...wish, comment: `the record at index ${index}`, index }];
  }
  for (const unitSizeLog2 of [12, 24]) {
    yield [
      `unit-size-log2-${unitSizeLog2}`,
      { ...wish, comment: `a unit of 2^${unitSizeLog2} bytes`, unitSizeLog2 },
    ];
  }
}

/** Returns the compressed payload of a case: from the committed file, or compressed again. */
export type PayloadSource = (
  name: string,
  codec: Exclude<CodecName, 'stored'>,
  level: number,
  plain: Uint8Array,
) => Uint8Array;

/** The cases by file name without `.json`. */
export function makeGoldenCases(payloadFor: PayloadSource): Map<string, GoldenCase> {
  const wishes = [...storedWishes(), ...compressedWishes(), ...placeWishes()];
  return new Map(wishes.map(([name, wish]) => [name, makeGoldenCase(name, wish, payloadFor)]));
}

function makeGoldenCase(name: string, wish: Wish, payloadFor: PayloadSource): GoldenCase {
  const plain = makePlain(wish.plain, wish.plainBytes);
  const { codec, suite, kind } = wish;
  const payload = codec === 'stored' ? plain : payloadFor(name, codec, wish.level, plain);
  // The first 24 bytes of a hash of the name: no two cases share a nonce, and nothing secret depends on it.
  const nonce = createHash('sha256').update(name).digest().subarray(0, 24);
  const record = {
    ...wish,
    kind: RECORD_KINDS[kind],
    suite: SUITE_IDS[suite],
    epoch: READER.epoch,
    epochKey: fromHex(READER.epochKey),
    volumeId: fromHex(READER.volumeId),
    objectId: fromHex(READER.objectId),
    nonce,
  };
  const sealed = sealByHand({
    ...record,
    plaintext: layOutByHand({
      codec: CODEC_IDS[codec],
      plainLength: plain.byteLength,
      payload,
      paddingBytes: padByHand(payload.byteLength, wish.padding) - payload.byteLength,
    }),
  });
  const derived = deriveByHand(record);
  return {
    comment: wish.comment,
    source: OWN_SOURCE,
    expect: 'success',
    ...READER,
    kind,
    index: wish.index,
    unitSizeLog2: wish.unitSizeLog2,
    openBytesMax: wish.unitSizeLog2 === 0 ? 4096 : 2 ** wish.unitSizeLog2,
    suite,
    flags: wish.flags,
    nonce: toHex(nonce),
    recordKey: toHex(derived.subarray(0, 32)),
    commitment: toHex(derived.subarray(32)),
    codec,
    level: wish.level,
    padding: wish.padding,
    plain: wish.plain,
    plainBytes: wish.plainBytes,
    ...(codec === 'stored' ? {} : { payload: Buffer.from(payload).toString('base64') }),
    sealedBytes: sealed.byteLength,
    sealedSha256: createHash('sha256').update(sealed).digest('hex'),
    ...(sealed.byteLength <= SEALED_IN_FILE_BYTES_MAX ? { sealed: sealed.toString('base64') } : {}),
  };
}
