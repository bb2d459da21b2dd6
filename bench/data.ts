/** Data to measure on. */
import { closeSync, openSync, readSync } from 'node:fs';

/** Returns the first `lengthBytes` of the Node binary (executable code) in shared memory. */
export function executableCode(lengthBytes: number): Uint8Array<SharedArrayBuffer> {
  const bytes = new Uint8Array(new SharedArrayBuffer(lengthBytes));
  const file = openSync(process.execPath, 'r');
  try {
    let filled = 0;
    while (filled < lengthBytes) {
      const read = readSync(file, bytes, filled, lengthBytes - filled, filled);
      if (read === 0) throw new Error(`the Node binary has only ${filled} bytes`);
      filled += read;
    }
  } finally {
    closeSync(file);
  }
  return bytes;
}
