/**
 * The deflate codec (RFC 1951, without a wrapper) by `node:zlib`. The other provider is in
 * deflate-portable.ts.
 */
import * as zlib from 'node:zlib';
import { NetsealError } from '../base/errors.ts';
import type { CodecProvider } from './codec.ts';

/** Returns the error for a payload that does not decompress to the length that its record gives. */
export function malformedDeflate(plainBytes: number, cause?: unknown): NetsealError {
  const message = `deflate payload does not decompress to ${plainBytes} bytes`;
  return new NetsealError('EFORMAT', message, cause === undefined ? {} : { cause });
}

export const nativeDeflate: CodecProvider = {
  codec: 'deflate',
  provider: 'native',
  compress(plain, level) {
    const chunkSize = plain.byteLength + (plain.byteLength >>> 8) + 512;
    return zlib.deflateRawSync(plain, { level, chunkSize });
  },
  decompress(payload, plainBytes) {
    let plain: Uint8Array;
    try {
      plain = zlib.inflateRawSync(payload, { chunkSize: plainBytes + 64, maxOutputLength: plainBytes });
    } catch (cause) {
      throw malformedDeflate(plainBytes, cause);
    }
    if (plain.byteLength !== plainBytes) throw malformedDeflate(plainBytes);
    return plain;
  },
};
