/** The deflate codec (RFC 1951, no wrapper): native in `node:zlib`, portable by `fflate`. */
import * as zlib from 'node:zlib';
import { deflateSync, inflateSync } from 'fflate';
import { NetsealError } from '../base/errors.ts';
import type { CodecProvider } from './codec.ts';

type DeflateLevel = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9;

function malformed(plainBytes: number, cause?: unknown): NetsealError {
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
      throw malformed(plainBytes, cause);
    }
    if (plain.byteLength !== plainBytes) throw malformed(plainBytes);
    return plain;
  },
};

export const portableDeflate: CodecProvider = {
  codec: 'deflate',
  provider: 'portable',
  compress(plain, level) {
    return deflateSync(plain, { level: level as DeflateLevel });
  },
  decompress(payload, plainBytes) {
    let plain: Uint8Array;
    try {
      // One byte of room more than allowed: with a buffer given, fflate fills it and stops.
      plain = inflateSync(payload, { out: new Uint8Array(plainBytes + 1) });
    } catch (cause) {
      throw malformed(plainBytes, cause);
    }
    if (plain.byteLength !== plainBytes) throw malformed(plainBytes);
    return plain;
  },
};
