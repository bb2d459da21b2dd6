/**
 * Loaded before a measured program: prints its highest resident size at its end. It reads /proc, because
 * getrusage begins with the memory of the parent.
 */
import { readFileSync, writeSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';

function peakBytes() {
  try {
    const [, kib] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'latin1')) ?? [];
    return kib === undefined ? 'unknown' : Number(kib) * 1024;
  } catch {
    return 'unknown';
  }
}

// The program's threads load this, too.
if (isMainThread) process.on('exit', () => writeSync(2, `peak ${peakBytes()}\n`));
