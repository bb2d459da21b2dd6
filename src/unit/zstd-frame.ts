/**
 * Checks the outline of a zstd frame (RFC 8878, section 3.1.1) before a decoder sees the payload. Pure.
 *
 *   - It bounds what a decoder allocates.
 *   - It makes all decoders agree about bytes behind the frame. Some decoders take further frames there for
 *     content, others ignore whatever is there.
 *
 *   magic u32 0xFD2FB528 ‖ descriptor u8 ‖ [window descriptor u8] ‖ [dictionary id 0-4] ‖ [content size 0-8]
 *   ‖ blocks, each: header u24 (last:1, type:2, size:21) ‖ content ‖ [checksum u32]
 */
import { viewOf } from '../base/bytes.ts';
import { NetsealError } from '../base/errors.ts';

/** log2 of the smallest window that a frame can ask for: 1 KiB. */
export const ZSTD_WINDOW_LOG_MIN = 10;
const MAGIC = 0xfd2fb528;
const DICTIONARY_ID_BYTES = [0, 1, 2, 4];
const CONTENT_SIZE_BYTES = [0, 2, 4, 8];
const BLOCK_HEADER_BYTES = 3;
const BLOCK_TYPE = { repeated: 1, reserved: 3 };
const CHECKSUM_BYTES = 4;

function malformed(what: string): NetsealError {
  return new NetsealError('EFORMAT', `zstd payload: ${what}`);
}

/**
 * Throws EFORMAT unless `payload` is one ordinary frame, as netseal writes it:
 *
 *   - It says that its content is `plainBytes` long.
 *   - Its window is no larger than its content, rounded up to a power of two, or 1 KiB.
 *   - It needs no dictionary, and no bytes follow it.
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
  const blocksEnd = findBlocksEnd(view, sizeAt + contentBytes);
  const end = blocksEnd + ((descriptor & 0x04) !== 0 ? CHECKSUM_BYTES : 0);
  if (end !== payload.byteLength) throw malformed(`frame of ${end} bytes in ${payload.byteLength}`);
}

/** Returns the offset behind the last block. */
function findBlocksEnd(view: DataView, firstBlock: number): number {
  let at = firstBlock;
  let last = false;
  while (!last) {
    if (at + BLOCK_HEADER_BYTES > view.byteLength) throw malformed('blocks cut short');
    const header = view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
    const type = (header >> 1) & 3;
    if (type === BLOCK_TYPE.reserved) throw malformed('reserved block type');
    last = (header & 1) !== 0;
    at += BLOCK_HEADER_BYTES + (type === BLOCK_TYPE.repeated ? 1 : header >> 3);
  }
  return at;
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
