/** Runs `netseal` as a process of its own and reports its peak memory. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { TargetSize } from './target.ts';

export interface CommandResult {
  readonly seconds: number;
  /** The highest resident size; undefined on systems without /proc. */
  readonly peakBytes: number | undefined;
}

const ROOT: string = fileURLToPath(new URL('..', import.meta.url));
/** Where `.ci/build.mjs --bench` puts the package as it is installed. */
const PACKAGE = `${ROOT}node_modules/.cache/netseal-bench/`;
/** Prints the peak as the last line on standard error. */
const REPORT_PEAK: string = fileURLToPath(new URL('report-peak.mjs', import.meta.url));
let isBuilt = false;

/** Builds the package, once. */
function builtPackage(): string {
  if (!isBuilt) execFileSync(process.execPath, [`${ROOT}.ci/build.mjs`, '--bench'], { stdio: 'inherit' });
  isBuilt = true;
  return PACKAGE;
}

/**
 * Returns the script of a measured program. It is bundled, as the package is: the sources take some 35 MiB
 * more, and 10 MiB more for each worker. The small size measures nothing and takes the sources.
 *
 * @param name of a file in `bench/`, without its extension.
 */
export function scriptFor(name: string, size: TargetSize): string {
  return size === 'small' ? `${ROOT}bench/${name}.ts` : `${builtPackage()}dist/${name}.js`;
}

/** Returns the script of `netseal`: as installed, or for the small size the checkout's. */
export function commandScript(size: TargetSize): string {
  return `${size === 'small' ? ROOT : builtPackage()}bin/netseal.js`;
}

/** Returns the environment of a command: Node's cache of compiled code is not the user's. */
export function commandEnvironment(): NodeJS.ProcessEnv {
  return { ...process.env, XDG_CACHE_HOME: `${PACKAGE}cache` };
}

/** Runs a command to its end. Throws with its output when it fails. */
export async function runCommand(size: TargetSize, args: readonly string[]): Promise<CommandResult> {
  const script = commandScript(size);
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
