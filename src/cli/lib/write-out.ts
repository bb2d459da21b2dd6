/** Standard output, by whoever has much to say. */
import { untilAborted } from './interrupt.ts';

/**
 * Writes bytes to standard output and waits until they are taken: afterwards they may change. Rejects when it fails, or
 * with the signal's reason.
 */
export function writeOut(bytes: Uint8Array | string, signal: AbortSignal): Promise<void> {
  const writing = new Promise<void>((resolve, reject) => {
    process.stdout.write(bytes, error => (error ? reject(error) : resolve()));
  });
  return untilAborted(signal, writing);
}
