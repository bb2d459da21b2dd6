/**
 * Bytes that tell where they belong: every 512 bytes of a file begin with the number of the write that they are
 * of, and with their own place. Imports nothing of the project, so that a fault there cannot hide here.
 */

export const SECTOR_BYTES = 512;

const MARK = 0xa5;
const HEADER_BYTES = 12;
/** Every so many writes one writes zeros, which may become holes. */
const ZEROS_EVERY = 13;

/** Whether a write writes zeros instead of a pattern. */
export function isOfZeros(write: number): boolean {
  return write % ZEROS_EVERY === 0;
}

/** Returns what write number `write`, from 1, puts at [offsetBytes, offsetBytes + lengthBytes) of a file. */
export function patternOf(write: number, offsetBytes: number, lengthBytes: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(lengthBytes);
  if (isOfZeros(write)) return bytes;
  const sector = new Uint8Array(SECTOR_BYTES);
  for (let done = 0; done < lengthBytes; ) {
    const number = Math.floor((offsetBytes + done) / SECTOR_BYTES);
    const within = offsetBytes + done - number * SECTOR_BYTES;
    const part = Math.min(SECTOR_BYTES - within, lengthBytes - done);
    fillSector(sector, write, number);
    bytes.set(sector.subarray(within, within + part), done);
    done += part;
  }
  return bytes;
}

/** Half of the writes compress well, the others not at all. */
function fillSector(sector: Uint8Array<ArrayBuffer>, write: number, number: number): void {
  if (write % 2 === 1) {
    sector.fill(1 + (write % 255));
  } else {
    let state = (Math.imul(write, 0x9e3779b1) ^ Math.imul(number + 1, 0x85ebca6b)) | 1;
    for (let at = 0; at < SECTOR_BYTES; at += 1) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      sector[at] = state;
    }
  }
  const view = new DataView(sector.buffer);
  view.setUint8(0, MARK);
  view.setUint8(1, MARK ^ 0xff);
  view.setUint32(2, write);
  view.setUint16(6, Math.floor(number / 2 ** 32));
  view.setUint32(8, number % 2 ** 32);
}

/** Returns the number of the write that a whole sector is of: 0 for zeros, undefined for anything else. */
export function writeOfSector(sector: Uint8Array, number: number): number | undefined {
  if (sector.every(byte => byte === 0)) return 0;
  const view = new DataView(sector.buffer, sector.byteOffset, sector.byteLength);
  if (sector.byteLength < HEADER_BYTES || view.getUint8(0) !== MARK) return undefined;
  const write = view.getUint32(2);
  const expected = patternOf(write, number * SECTOR_BYTES, sector.byteLength);
  return Buffer.compare(sector, expected) === 0 ? write : undefined;
}

/** Says in words what the sector around a place holds. `bytes` is what lies at `offsetBytes` of a file. */
export function describeAt(bytes: Uint8Array, offsetBytes: number, placeBytes: number): string {
  const number = Math.floor(placeBytes / SECTOR_BYTES);
  const from = Math.max(0, number * SECTOR_BYTES - offsetBytes);
  const sector = bytes.subarray(from, Math.max(from, (number + 1) * SECTOR_BYTES - offsetBytes));
  if (sector.every(byte => byte === 0)) return `zeros (${sector.byteLength} bytes)`;
  const view = new DataView(sector.buffer, sector.byteOffset, sector.byteLength);
  const byte = `byte ${bytes[placeBytes - offsetBytes]}`;
  if (sector.byteLength < HEADER_BYTES || view.getUint16(0) !== ((MARK << 8) | (MARK ^ 0xff))) return byte;
  const place = view.getUint16(6) * 2 ** 32 + view.getUint32(8);
  return `${byte} in a sector of write ${view.getUint32(2)}, place ${place * SECTOR_BYTES}`;
}
