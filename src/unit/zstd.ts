/** The zstd codec (RFC 8878) by `node:zlib`. The other provider is in zstd-portable.ts. */
import * as zlib from 'node:zlib';
import { NetsealError } from '../base/errors.ts';
import type { CodecProvider } from './codec.ts';
import { checkZstdFrame, ZSTD_WINDOW_LOG_MIN } from './zstd-frame.ts';

/**
 * Returns the native provider, or undefined where there is none. Node has it since 22.15, but a Node built
 * with a shared zlib may lack it. Another runtime may have one that does not write frames as netseal reads
 * them.
 */
export function nativeZstd(): CodecProvider | undefined {
  if (typeof zlib.zstdCompressSync !== 'function') return undefined;
  const provider = makeProvider();
  return worksHere(provider) ? provider : undefined;
}

function worksHere(provider: CodecProvider): boolean {
  const plain = new Uint8Array(1000);
  try {
    return provider.decompress(provider.compress(plain, 1), plain.byteLength).byteLength === plain.byteLength;
  } catch {
    return false;
  }
}

function makeProvider(): CodecProvider {
  const { ZSTD_c_compressionLevel, ZSTD_d_windowLogMax } = zlib.constants;
  return {
    codec: 'zstd',
    provider: 'native',
    compress(plain, level) {
      // One chunk that holds the worst case. With Node's default of 16 KiB, many chunks would be made and
      // joined.
      const chunkSize = plain.byteLength + (plain.byteLength >>> 8) + 512;
      return zlib.zstdCompressSync(plain, {
        chunkSize,
        // Node writes the content's size in any case. Deno does not unless it is promised.
        pledgedSrcSize: plain.byteLength,
        params: { [ZSTD_c_compressionLevel]: level },
      });
    },
    decompress(payload, plainBytes) {
      checkZstdFrame(payload, plainBytes);
      const windowLog = Math.max(ZSTD_WINDOW_LOG_MIN, Math.ceil(Math.log2(plainBytes)));
      const message = `zstd payload does not decompress to ${plainBytes} bytes`;
      let plain: Uint8Array;
      try {
        plain = zlib.zstdDecompressSync(payload, {
          chunkSize: plainBytes + 64,
          maxOutputLength: plainBytes,
          params: { [ZSTD_d_windowLogMax]: windowLog },
        });
      } catch (cause) {
        throw new NetsealError('EFORMAT', message, { cause });
      }
      if (plain.byteLength !== plainBytes) throw new NetsealError('EFORMAT', message);
      return plain;
    },
  };
}
