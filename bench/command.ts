/** Runs `netseal` as a process of its own and reports its peak memory. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { TargetSize } from './target.ts';

/** The last line that the process prints on standard error. */
export interface CommandReport {
  /** The highest resident size; undefined on systems without /proc. */
  readonly peakBytes: number | undefined;
}

export interface CommandResult extends CommandReport {
  readonly seconds: number;
}

const ROOT: string = fileURLToPath(new URL('..', import.meta.url));
let isBuilt = false;

/**
 * Returns the script to run. It is the build, as users run it: the sources take some 35 MiB more, and 10 MiB
 * more for each worker. The small size measures nothing and takes the sources.
 *
 * @param name of a file in `bench/`, without its extension.
 */
export function scriptFor(name: string, size: TargetSize): string {
  if (size === 'small') return `${ROOT}bench/${name}.ts`;
  if (!isBuilt) {
    const compiler = `${ROOT}node_modules/typescript/bin/tsc`;
    execFileSync(process.execPath, [compiler, '-p', 'tsconfig.bench.json'], { cwd: ROOT, stdio: 'inherit' });
    isBuilt = true;
  }
  return `${ROOT}dist/bench/${name}.js`;
}

/** Runs a command to its end. Throws with its output when it fails. */
export async function runCommand(size: TargetSize, args: readonly string[]): Promise<CommandResult> {
  const script = scriptFor('command-child', size);
  const startedMs = performance.now();
  const child = spawn(process.execPath, [script, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
  let text = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  const [code] = await once(child, 'close');
  const seconds = (performance.now() - startedMs) / 1000;
  const last = text.trimEnd().split('\n').at(-1) ?? '';
  if (code !== 0 || !last.startsWith('{')) throw new Error(`netseal ${args[0]} ended with ${code}: ${text}`);
  return { ...(JSON.parse(last) as CommandReport), seconds };
}
