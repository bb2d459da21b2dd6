/** Standard output for commands that write much. */
import { untilAborted } from './interrupt.ts';

/**
 * Writes to standard output and waits until it has taken the bytes; they may change afterwards. Rejects when
 * writing fails, or with the signal's reason once it aborts.
 */
export function writeOut(bytes: Uint8Array | string, signal: AbortSignal): Promise<void> {
  const writing = new Promise<void>((resolve, reject) => {
    process.stdout.write(bytes, error => (error ? reject(error) : resolve()));
  });
  return untilAborted(signal, writing);
}
