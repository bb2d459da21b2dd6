/** The deflate codec by `fflate`: the portable provider. */
import { deflateSync, inflateSync } from 'fflate';
import type { CodecProvider } from './codec.ts';
import { malformedDeflate } from './deflate.ts';

type DeflateLevel = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9;

export const portableDeflate: CodecProvider = {
  codec: 'deflate',
  provider: 'portable',
  compress(plain, level) {
    return deflateSync(plain, { level: level as DeflateLevel });
  },
  decompress(payload, plainBytes) {
    let plain: Uint8Array;
    try {
      // fflate stops when its output buffer is full. One byte of extra room shows content that is too long.
      plain = inflateSync(payload, { out: new Uint8Array(plainBytes + 1) });
    } catch (cause) {
      throw malformedDeflate(plainBytes, cause);
    }
    if (plain.byteLength !== plainBytes) throw malformedDeflate(plainBytes);
    return plain;
  },
};
