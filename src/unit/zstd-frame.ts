/**
 * The header of a zstd frame (RFC 8878, section 3.1.1), read before any decoder sees the payload, so that what a
 * decoder may allocate is known and bounded. Pure.
 *
 *   magic u32 0xFD2FB528 ‖ descriptor u8 ‖ [window descriptor u8] ‖ [dictionary id 0-4] ‖ [content size 0-8]
 */
import { viewOf } from '../base/bytes.ts';
import { NetsealError } from '../base/errors.ts';

/** The smallest window that the format can ask for is 1 KiB. */
export const ZSTD_WINDOW_LOG_MIN = 10;
const MAGIC = 0xfd2fb528;
const DICTIONARY_ID_BYTES = [0, 1, 2, 4];
const CONTENT_SIZE_BYTES = [0, 2, 4, 8];

function malformed(what: string): NetsealError {
  return new NetsealError('EFORMAT', `zstd payload: ${what}`);
}

/**
 * Requires one ordinary frame that says that its content has `plainBytes` bytes, in a window no larger than the
 * content (or 1 KiB), without a dictionary. netseal's writers always say so; EFORMAT otherwise.
 */
export function checkZstdFrame(payload: Uint8Array, plainBytes: number): void {
  const view = viewOf(payload);
  if (payload.byteLength < 6 || view.getUint32(0, true) !== MAGIC) throw malformed('no frame');
  const descriptor = view.getUint8(4);
  const singleSegment = (descriptor & 0x20) !== 0;
  const dictionaryBytes = DICTIONARY_ID_BYTES[descriptor & 3] ?? 0;
  let contentBytes = CONTENT_SIZE_BYTES[descriptor >> 6] ?? 0;
  if (contentBytes === 0 && singleSegment) contentBytes = 1;
  const sizeAt = 5 + (singleSegment ? 0 : 1) + dictionaryBytes;
  if (payload.byteLength < sizeAt + contentBytes) throw malformed('frame header cut short');
  if (dictionaryBytes !== 0) throw malformed('needs a dictionary');
  const contentSize = readContentSize(view, sizeAt, contentBytes);
  if (contentSize !== plainBytes) throw malformed(`content of ${contentSize} bytes instead of ${plainBytes}`);
  if (!singleSegment) {
    const window = windowBytes(view.getUint8(5));
    const windowMax = 2 ** Math.max(ZSTD_WINDOW_LOG_MIN, Math.ceil(Math.log2(plainBytes)));
    if (window > windowMax) throw malformed(`window of ${window} bytes for ${plainBytes} of content`);
  }
}

function windowBytes(windowDescriptor: number): number {
  const base = 2 ** (ZSTD_WINDOW_LOG_MIN + (windowDescriptor >> 3));
  return base + (base / 8) * (windowDescriptor & 7);
}

function readContentSize(view: DataView, at: number, lengthBytes: number): number | undefined {
  if (lengthBytes === 1) return view.getUint8(at);
  if (lengthBytes === 2) return view.getUint16(at, true) + 256;
  if (lengthBytes === 4) return view.getUint32(at, true);
  if (lengthBytes === 8) return Number(view.getBigUint64(at, true));
  return undefined;
}
