import { expect, it } from 'vitest';
import {
  decodeHeader,
  parseSuite,
  payloadToSealedBytes,
  peekHeader,
  RECORD_BYTES_MAX,
} from '../../src/unit/record-format.ts';
import { type GoldenCase, readCases } from '../../vectors/case.ts';
import { errorCodeOf } from '../support/errors.ts';

const GOLDEN = readCases<GoldenCase>('unit').get('flag-last')!;
const RECORD = Uint8Array.from(Buffer.from(GOLDEN.sealed!, 'base64'));

it('the header can be read before the rest has come', () => {
  const header = decodeHeader(RECORD);
  expect(header).toEqual({
    kind: 2,
    suite: GOLDEN.suite,
    flags: 1,
    epoch: GOLDEN.epoch,
    sealedLengthBytes: RECORD.byteLength,
  });
  for (const haveBytes of [16, 17, RECORD.byteLength - 1]) {
    expect(peekHeader(RECORD.subarray(0, haveBytes))).toEqual(header);
    expect(errorCodeOf(() => decodeHeader(RECORD.subarray(0, haveBytes)))).toBe('ETRUNCATED');
  }
  expect(errorCodeOf(() => peekHeader(RECORD.subarray(0, 15)))).toBe('ETRUNCATED');
});

it('what follows a record is not looked at', () => {
  const followed = new Uint8Array(RECORD.byteLength + 100).fill(0xff);
  followed.set(RECORD);
  expect(decodeHeader(followed)).toEqual(decodeHeader(RECORD));
});

it('the longest record', () => {
  expect(RECORD_BYTES_MAX).toBe(16_777_288);
  expect(payloadToSealedBytes(2 ** 24, 'padme')).toBe(RECORD_BYTES_MAX);
});

it('suites by name', () => {
  expect(parseSuite('xaes-256-gcm')).toBe('xaes-256-gcm');
  expect(parseSuite('xchacha20-poly1305')).toBe('xchacha20-poly1305');
  for (const text of ['', 'aes-256-gcm', 'XAES-256-GCM', 'toString', '__proto__']) {
    expect(errorCodeOf(() => parseSuite(text))).toBe('EINVAL');
  }
});
