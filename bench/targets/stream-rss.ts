/** Memory of a process that seals a long stream, and of one that opens it. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Measurement, Target, TargetSize } from '../target.ts';

const MIB = 1024 * 1024;

/** What a measured process tells its parent. */
export interface StreamRssReport {
  readonly plainBytes: number;
  /** Median and maximum of the resident size, sampled after the first tenth of the stream. */
  readonly steadyBytes: number;
  readonly peakBytes: number;
  readonly seconds: number;
  /** Of the plain bytes. */
  readonly sha256: string;
}

export const streamRss: Target = {
  id: 'stream-rss',
  about:
    'steady resident memory of a process that seals a stream, and of one that opens it, with default settings',
  measure: async size => {
    const streamBytes = size === 'real' ? 4096 * MIB : 8 * MIB;
    const script = scriptFor(size);
    const sealing = start(script, ['seal', String(streamBytes)], ['ignore', 'pipe', 'inherit', 'ipc']);
    const opening = start(
      script,
      ['open', String(streamBytes)],
      [sealing.stdout, 'ignore', 'inherit', 'ipc'],
    );
    const [sealed, opened] = await Promise.all([reportOf(sealing), reportOf(opening)]);
    if (
      sealed.plainBytes !== streamBytes ||
      opened.plainBytes !== streamBytes ||
      sealed.sha256 !== opened.sha256
    ) {
      throw new Error('the stream does not round-trip');
    }
    return [toMeasurement('sealing', sealed), toMeasurement('opening', opened)];
  },
};

/**
 * What users run is the build: Node's type stripping alone takes some 30 MiB a thread. The small size, which measures
 * nothing, takes the sources.
 */
function scriptFor(size: TargetSize): string {
  if (size === 'small') return fileURLToPath(new URL('../stream-rss-child.ts', import.meta.url));
  const root = fileURLToPath(new URL('../..', import.meta.url));
  execFileSync(process.execPath, [`${root}/node_modules/typescript/bin/tsc`, '-p', 'tsconfig.bench.json'], {
    cwd: root,
  });
  const script = `${root}/dist/bench/stream-rss-child.js`;
  if (!existsSync(script)) throw new Error(`the build did not make ${script}`);
  return script;
}

function start(script: string, args: readonly string[], stdio: readonly unknown[]): ChildProcess {
  return spawn(process.execPath, [script, ...args], { stdio: stdio as ['ignore', 'pipe', 'inherit', 'ipc'] });
}

function reportOf(child: ChildProcess): Promise<StreamRssReport> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('message', message => resolve(message as StreamRssReport));
    child.once('exit', code =>
      reject(new Error(`the measured process ended with ${code} before it reported`)),
    );
  });
}

function toMeasurement(what: string, report: StreamRssReport): Measurement {
  const rate = report.plainBytes / 1e6 / report.seconds;
  return {
    what,
    measured: report.steadyBytes / MIB,
    bound: 200,
    sense: '<=',
    unit: 'MiB',
    detail: `${report.plainBytes / MIB} MiB at ${rate.toFixed(0)} MB/s; peak ${(report.peakBytes / MIB).toFixed(0)} MiB`,
  };
}
