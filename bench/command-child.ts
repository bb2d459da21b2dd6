/** The process that command.ts starts. It runs the command line and prints its own peak memory at the end. */
import { readFileSync, writeSync } from 'node:fs';
import { main } from '../src/cli/main.ts';
import type { CommandReport } from './command.ts';

/** Reads /proc, because getrusage begins with the memory of the parent. */
function peakBytes(): number | undefined {
  try {
    const [, kib] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'latin1')) ?? [];
    return kib === undefined ? undefined : Number(kib) * 1024;
  } catch {
    return undefined;
  }
}

process.on('exit', () => {
  const report: CommandReport = { peakBytes: peakBytes() };
  writeSync(2, `${JSON.stringify(report)}\n`);
});
await main(process.argv.slice(2));
