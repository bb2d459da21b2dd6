/** The process that command.ts starts: the command line, and at its end what it took at most. */
import { readFileSync, writeSync } from 'node:fs';
import { main } from '../src/cli/main.ts';
import type { CommandReport } from './command.ts';

/** Not getrusage: that begins with what the parent took. */
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
