/** Runs `netseal` as a process of its own and reports its peak memory. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { commandEnvironment, commandScript } from './package.ts';

export interface CommandResult {
  readonly seconds: number;
  /** The highest resident size; undefined on systems without /proc. */
  readonly peakBytes: number | undefined;
}

/** Prints the peak as the last line on standard error. */
const REPORT_PEAK: string = fileURLToPath(new URL('report-peak.mjs', import.meta.url));
/** Runs a command to its end. Throws with its output when it fails. */
export async function runCommand(args: readonly string[]): Promise<CommandResult> {
  const script = commandScript();
  const startedMs = performance.now();
  const child = spawn(process.execPath, ['--import', REPORT_PEAK, script, ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: commandEnvironment(),
  });
  let text = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  const [code] = await once(child, 'close');
  const seconds = (performance.now() - startedMs) / 1000;
  const last = text.trimEnd().split('\n').at(-1) ?? '';
  const [, peak] = /^peak (\d+|unknown)$/.exec(last) ?? [];
  if (code !== 0 || peak === undefined) throw new Error(`netseal ${args[0]} ended with ${code}: ${text}`);
  return { seconds, peakBytes: peak === 'unknown' ? undefined : Number(peak) };
}
