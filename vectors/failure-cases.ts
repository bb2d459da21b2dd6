/** Records that must not open, one reason each. Malformed content under a right tag is sealed by hand. */
import { fromHex } from '../src/base/bytes.ts';
import type { ErrorCode } from '../src/base/errors.ts';
import {
  deflateBitsByHand,
  FIXED,
  type HandFrame,
  type HandPlaintext,
  type HandRecord,
  layOutByHand,
  sealByHand,
  zstdBlockByHand,
  zstdFrameByHand,
} from './by-hand.ts';
import { type FailureCase, makePlain, type ReaderFields } from './case.ts';
import { OWN_SOURCE, READER } from './golden-cases.ts';

type Named = [name: string, failure: FailureCase];

const PLAIN = makePlain('text', 100);
const UNIT_BYTES = 4096;
const RAW: HandPlaintext = { codec: 0, plainLength: 100, payload: PLAIN, paddingBytes: 28 };
const CODECS = { stored: 0, zstd: 1, deflate: 2 } as const;

const READER_FIELDS: ReaderFields = {
  ...READER,
  kind: 'unit',
  index: 5,
  unitSizeLog2: 12,
  openBytesMax: UNIT_BYTES,
};

const GOOD: HandRecord = {
  epochKey: fromHex(READER.epochKey),
  volumeId: fromHex(READER.volumeId),
  objectId: fromHex(READER.objectId),
  index: 5,
  unitSizeLog2: 12,
  kind: 1,
  suite: 1,
  flags: 0,
  epoch: READER.epoch,
  nonce: makePlain('random', 24),
  plaintext: layOutByHand(RAW),
};

function failure(
  name: string,
  expect: ErrorCode,
  comment: string,
  sealed: Uint8Array,
  extra: Partial<ReaderFields> & { expectedTag?: string } = {},
): Named {
  const text = Buffer.from(sealed).toString('base64');
  return [name, { comment, source: OWN_SOURCE, expect, ...READER_FIELDS, ...extra, sealed: text }];
}

/** Returns a good record with some header fields changed afterwards. */
function damaged(damage: (record: Buffer) => void, record: Partial<HandRecord> = {}): Buffer {
  const sealed = sealByHand({ ...GOOD, ...record });
  damage(sealed);
  return sealed;
}

function flip(name: string, expect: ErrorCode, field: string, at: number, bit = 0, suite = 1): Named {
  const comment = `bit ${bit} of byte ${at} flipped: ${field}`;
  return failure(
    name,
    expect,
    comment,
    damaged(sealed => sealed.writeUInt8(sealed.readUInt8(at) ^ (1 << bit), at), { suite }),
  );
}

function* flips(): Generator<Named> {
  yield flip('flip-magic-first', 'EFORMAT', 'magic', 0);
  yield flip('flip-magic-last', 'EFORMAT', 'magic', 3, 7);
  yield flip('flip-version', 'EUNSUPPORTED', 'version 1 becomes 3', 4, 1);
  yield flip('flip-kind', 'EAUTH', 'kind unit becomes mapPage', 5, 1);
  yield flip('flip-kind-unknown', 'EAUTH', 'kind unit becomes 129, which nobody knows', 5, 7);
  yield flip('flip-suite', 'EUNSUPPORTED', 'suite 1 becomes 3', 6, 1);
  yield flip('flip-flags', 'EFORMAT', 'flag "last" on a unit that is not of a stream', 7);
  yield flip('flip-flags-high', 'EFORMAT', 'an unknown flag', 7, 7);
  yield flip('flip-epoch', 'EKEY', 'epoch 3 becomes 2, for which there is no key', 8);
  yield flip('flip-length-down', 'EFORMAT', 'sealedLength 200 becomes 192', 12, 3);
  yield flip('flip-length-up', 'ETRUNCATED', 'sealedLength 200 becomes 201', 12);
  yield flip('flip-length-far-up', 'EFORMAT', 'sealedLength 200 becomes more than 2 GiB', 15, 7);
  for (const [suite, short] of [
    [1, 'xaes'],
    [2, 'xchacha'],
  ] as const) {
    const last = sealByHand({ ...GOOD, suite }).byteLength - 1;
    yield flip(`${short}-flip-nonce-first`, 'EAUTH', 'nonce', 16, 0, suite);
    yield flip(`${short}-flip-nonce-last`, 'EAUTH', 'nonce', 39, 7, suite);
    yield flip(`${short}-flip-inner-header`, 'EAUTH', 'encrypted inner header', 40, 0, suite);
    yield flip(`${short}-flip-payload`, 'EAUTH', 'encrypted payload', 56 + 50, 3, suite);
    yield flip(`${short}-flip-padding`, 'EAUTH', 'encrypted padding', last - 16, 0, suite);
    yield flip(`${short}-flip-tag-first`, 'EAUTH', 'tag', last - 15, 7, suite);
    yield flip(`${short}-flip-tag-last`, 'EAUTH', 'tag', last, 0, suite);
  }
}

function* lengths(): Generator<Named> {
  const sealed = sealByHand(GOOD);
  for (const keptBytes of [0, 1, 15, 16, 39, 40, 71, sealed.byteLength - 1]) {
    const comment = `cut to ${keptBytes} of ${sealed.byteLength} bytes`;
    yield failure(`truncated-to-${keptBytes}`, 'ETRUNCATED', comment, sealed.subarray(0, keptBytes));
  }
  const shortened = damaged(record => record.writeUInt32LE(record.byteLength - 16, 12));
  yield failure(
    'truncated-and-relabelled',
    'EAUTH',
    'the tag cut off, and sealedLength lowered to match',
    shortened.subarray(0, -16),
  );
  yield failure(
    'trailing-byte',
    'EFORMAT',
    'one byte after the record',
    Buffer.concat([sealed, Buffer.of(0)]),
  );
  for (const length of [0, 71, 2 ** 24 + 73, 2 ** 31, 2 ** 32 - 1]) {
    yield failure(
      `length-${length}`,
      'EFORMAT',
      `sealedLength ${length}: no record has that`,
      damaged(record => record.writeUInt32LE(length, 12)),
    );
  }
  yield failure(
    'length-over-unit',
    'EFORMAT',
    'a good record, longer than any for a unit of this size',
    sealByHand({
      ...GOOD,
      plaintext: layOutByHand({
        ...RAW,
        plainLength: 4097,
        payload: makePlain('text', 4097),
        paddingBytes: 0,
      }),
    }),
  );
}

function* places(): Generator<Named> {
  const sealed = sealByHand(GOOD);
  const other = '404142434445464748494a4b4c4d4e4f';
  yield failure('other-object', 'EAUTH', 'a unit of another file', sealed, { objectId: other });
  yield failure('other-volume', 'EAUTH', 'a unit of another volume', sealed, { volumeId: other });
  yield failure('other-index', 'EAUTH', 'a unit of another position', sealed, { index: 6 });
  yield failure('other-index-high', 'EAUTH', 'positions that differ by 2^32', sealed, {
    index: 5 + 2 ** 32,
  });
  yield failure('other-unit-size', 'EAUTH', 'a unit of a file with another unit size', sealed, {
    unitSizeLog2: 13,
    openBytesMax: 8192,
  });
  yield failure('other-kind', 'EAUTH', 'a unit where a map page belongs', sealed, { kind: 'mapPage' });
  yield failure('other-key', 'EAUTH', 'sealed under another key of the same epoch number', sealed, {
    epochKey: 'ff'.repeat(32),
  });
  yield failure('other-epoch', 'EKEY', 'sealed in an epoch that the reader has no key for', sealed, {
    epoch: 4,
  });
  yield failure('other-version', 'EAUTH', 'a genuine unit, but not the version wanted', sealed, {
    expectedTag: '00'.repeat(16),
  });
  yield failure(
    'relabelled-suite',
    'EAUTH',
    'sealed by suite 1, relabelled as suite 2',
    damaged(record => record.writeUInt8(2, 6)),
  );
  yield failure(
    'relabelled-kind',
    'EAUTH',
    'a unit relabelled as a map page, where one belongs',
    damaged(record => record.writeUInt8(3, 5)),
    { kind: 'mapPage' },
  );
  const stream = { kind: 2 };
  yield failure(
    'last-flag-added',
    'EAUTH',
    'a unit of a stream, made to look like the last',
    damaged(record => record.writeUInt8(1, 7), stream),
    { kind: 'streamUnit' },
  );
  yield failure(
    'last-flag-removed',
    'EAUTH',
    'the last unit of a stream, made to look like an earlier one',
    damaged(record => record.writeUInt8(0, 7), { ...stream, flags: 1 }),
    { kind: 'streamUnit' },
  );
}

function* unknowns(): Generator<Named> {
  const set = (at: number, value: number) => damaged(record => record.writeUInt8(value, at));
  yield failure('version-0', 'EUNSUPPORTED', 'version 0', set(4, 0));
  yield failure('version-2', 'EUNSUPPORTED', 'version 2', set(4, 2));
  yield failure('suite-0', 'EUNSUPPORTED', 'suite 0', set(6, 0));
  yield failure('suite-255', 'EUNSUPPORTED', 'suite 255', set(6, 255));
  const stream = sealByHand({ ...GOOD, kind: 2, flags: 2 });
  yield failure('flag-2', 'EFORMAT', 'an unknown flag, authentic, on a unit of a stream', stream, {
    kind: 'streamUnit',
  });
}

/** Seals malformed content with the key, so that the tag is right. */
function malformed(
  name: string,
  expect: ErrorCode,
  comment: string,
  parts: Partial<HandPlaintext>,
  damage: (plaintext: Buffer) => void = () => {},
): Named {
  const plaintext = layOutByHand({ ...RAW, paddingBytes: 0, ...parts });
  damage(plaintext);
  return failure(name, expect, `authentic, but: ${comment}`, sealByHand({ ...GOOD, plaintext }));
}

function* innerHeaders(): Generator<Named> {
  yield malformed('inner-codec-3', 'EUNSUPPORTED', 'codec 3', { codec: 3 });
  yield malformed('inner-codec-255', 'EUNSUPPORTED', 'codec 255', { codec: 255 });
  for (const at of [1, 3, 12, 15]) {
    yield malformed(
      `inner-reserved-${at}`,
      'EFORMAT',
      `reserved byte ${at} of the inner header is not zero`,
      {},
      plaintext => plaintext.writeUInt8(128, at),
    );
  }
  const tiny = { payload: Buffer.from('tiny') };
  yield malformed('inner-plain-over-unit', 'EFORMAT', 'a plain length of one byte more than the unit', {
    ...tiny,
    codec: CODECS.zstd,
    plainLength: UNIT_BYTES + 1,
  });
  yield malformed('inner-plain-absurd', 'EFORMAT', 'a plain length of 2^32 - 1', {
    ...tiny,
    codec: CODECS.deflate,
    plainLength: 2 ** 32 - 1,
  });
  yield malformed('inner-payload-over-ciphertext', 'EFORMAT', 'a payload of one byte more than there is', {
    plainLength: 101,
    payloadLength: 101,
  });
  yield malformed('inner-payload-absurd', 'EFORMAT', 'a payload length of 2^32 - 1', {
    payloadLength: 2 ** 32 - 1,
  });
  yield malformed('inner-stored-shorter', 'EFORMAT', 'stored, with a payload shorter than the content', {
    plainLength: 101,
  });
  yield malformed('inner-stored-longer', 'EFORMAT', 'stored, with a payload longer than the content', {
    plainLength: 99,
  });
  for (const codec of ['zstd', 'deflate'] as const) {
    yield malformed(`inner-${codec}-not-shorter`, 'EFORMAT', `${codec}, and no shorter than the content`, {
      codec: CODECS[codec],
    });
    yield malformed(`inner-${codec}-of-nothing`, 'EFORMAT', `${codec} of no content`, {
      codec: CODECS[codec],
      plainLength: 0,
      payload: Buffer.of(),
    });
  }
  const padded = { paddingBytes: 28 };
  yield malformed('padding-first', 'EFORMAT', 'the first byte of the padding is not zero', padded, text =>
    text.writeUInt8(1, 16 + 100),
  );
  yield malformed('padding-last', 'EFORMAT', 'the last byte of the padding is not zero', padded, text =>
    text.writeUInt8(1, text.byteLength - 1),
  );
}

const RUN_OF_4096 = zstdBlockByHand('repeated', Buffer.of(0), true, UNIT_BYTES);

function zstdCase(
  name: string,
  comment: string,
  frame: Partial<HandFrame>,
  after: Uint8Array = Buffer.of(),
): Named {
  const payload = Buffer.concat([
    zstdFrameByHand({ contentBytes: UNIT_BYTES, blocks: [RUN_OF_4096], ...frame }),
    after,
  ]);
  return malformed(`zstd-${name}`, 'EFORMAT', comment, {
    codec: CODECS.zstd,
    plainLength: UNIT_BYTES,
    payload,
  });
}

function* zstdFrames(): Generator<Named> {
  const big = 128 * 1024;
  const bigRun = (last: boolean) => zstdBlockByHand('repeated', Buffer.of(0), last, big);
  yield zstdCase('bomb', '17 MiB out of 549 bytes, declared as 4096', {
    blocks: [...Array.from({ length: 135 }, () => bigRun(false)), bigRun(true)],
  });
  yield zstdCase('bomb-declared', '128 KiB of content, and it says so', {
    contentBytes: big,
    blocks: [bigRun(true)],
  });
  yield zstdCase('window-giant', 'a window of 3.75 TiB', { windowDescriptor: 0xff });
  yield zstdCase('window-over-content', 'a window of 4.5 KiB for 4 KiB of content', {
    windowDescriptor: (2 << 3) | 1,
  });
  yield zstdCase('content-shorter', 'less content than declared', {
    blocks: [zstdBlockByHand('repeated', Buffer.of(0), true, UNIT_BYTES - 1)],
  });
  yield zstdCase('content-longer', 'one byte more of content than declared', {
    blocks: [
      zstdBlockByHand('repeated', Buffer.of(0), false, UNIT_BYTES),
      zstdBlockByHand('raw', Buffer.of(1), true),
    ],
  });
  yield zstdCase('size-other', 'a content size that is not the plain length', { contentBytes: 4095 });
  yield zstdCase('size-absurd', 'a content size of 2^53', { contentBytes: 2 ** 53 });
  yield zstdCase('size-absent', 'no content size', { contentBytes: undefined, windowDescriptor: 0 });
  yield zstdCase('dictionary', 'a dictionary', { dictionaryId: 1 });
  yield zstdCase('magic', 'a skippable frame', { magic: 0x184d2a50 });
  yield zstdCase('block-reserved', 'a block of the reserved type', {
    blocks: [zstdBlockByHand('reserved', Buffer.of(0), true)],
  });
  yield zstdCase('block-garbage', 'a compressed block of garbage', {
    blocks: [zstdBlockByHand('compressed', makePlain('random', 200), true)],
  });
  yield zstdCase('no-last-block', 'the frame ends without a last block', {
    blocks: [zstdBlockByHand('repeated', Buffer.of(0), false, UNIT_BYTES)],
  });
  yield zstdCase('cut-in-block', 'the frame ends within a block', {
    blocks: [zstdBlockByHand('raw', Buffer.alloc(100), true, UNIT_BYTES)],
  });
  yield zstdCase('trailing-byte', 'one byte after the frame', {}, Buffer.of(0));
  yield zstdCase(
    'second-frame',
    'an empty second frame',
    {},
    zstdFrameByHand({ contentBytes: 0, blocks: [zstdBlockByHand('raw', Buffer.of(), true)] }),
  );
  yield zstdCase(
    'skippable-frame',
    'a skippable frame after the frame',
    {},
    Buffer.from('502a4d180400000001020304', 'hex'),
  );
  const zstd = { codec: CODECS.zstd, plainLength: UNIT_BYTES };
  yield malformed('zstd-empty', 'EFORMAT', 'no frame at all', { ...zstd, payload: Buffer.of() });
  yield malformed('zstd-cut-in-header', 'EFORMAT', 'the frame ends within its header', {
    ...zstd,
    payload: zstdFrameByHand({ contentBytes: UNIT_BYTES, blocks: [] }).subarray(0, 7),
  });
}

function* deflateStreams(): Generator<Named> {
  const { lastBlock, notLastBlock, literalZero, repeat258, endOfBlock } = FIXED;
  const fill = (count: number) => literalZero + repeat258.repeat(count);
  const deflate = { codec: CODECS.deflate, plainLength: UNIT_BYTES };
  const stream = (name: string, comment: string, payload: Uint8Array) =>
    malformed(`deflate-${name}`, 'EFORMAT', comment, { ...deflate, payload });
  yield stream(
    'bomb',
    '519,000 bytes out of 3.3 KiB, declared as 4096',
    deflateBitsByHand(lastBlock + fill(2012) + endOfBlock),
  );
  yield stream(
    'content-longer',
    'one byte more of content than declared',
    deflateBitsByHand(`${lastBlock}${fill(15)}${literalZero.repeat(4096 - 1 - 15 * 258 + 1)}${endOfBlock}`),
  );
  yield stream(
    'content-shorter',
    'one byte less of content than declared',
    deflateBitsByHand(`${lastBlock}${fill(15)}${literalZero.repeat(4096 - 1 - 15 * 258 - 1)}${endOfBlock}`),
  );
  const exact = fill(15) + literalZero.repeat(4096 - 1 - 15 * 258);
  yield stream(
    'no-last-block',
    'all of the content, but no last block',
    deflateBitsByHand(notLastBlock + exact + endOfBlock),
  );
  yield stream('cut', 'the stream ends within its block', deflateBitsByHand(lastBlock + fill(14)));
  yield stream('block-reserved', 'a block of the reserved type', deflateBitsByHand('111'.padEnd(80, '0')));
  yield stream(
    'copy-from-nowhere',
    'a copy from before the beginning',
    deflateBitsByHand(`${lastBlock}${literalZero}${FIXED.copy3From4Back}${exact.slice(32)}${endOfBlock}`),
  );
  yield stream('empty', 'no stream at all', Buffer.of());
}

/** The cases by file name without `.json`. */
export function makeFailureCases(): Map<string, FailureCase> {
  const cases = [
    ...flips(),
    ...lengths(),
    ...places(),
    ...unknowns(),
    ...innerHeaders(),
    ...zstdFrames(),
    ...deflateStreams(),
  ];
  return new Map(cases.map(([name, failureCase]) => [`fail-${name}`, failureCase]));
}
