/** Measures the memory of a process that seals a long stream, and of one that opens it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { scriptFor } from '../package.ts';
import type { Measurement, Target } from '../target.ts';

const MIB = 1024 * 1024;

/** The report that a measured process prints. */
export interface StreamRssReport {
  readonly mode: 'sealing' | 'opening';
  readonly plainBytes: number;
  /** Median and maximum of the resident size, sampled after the first tenth of the stream. */
  readonly steadyBytes: number;
  readonly peakBytes: number;
  readonly seconds: number;
  /** The SHA-256 of the plain bytes. */
  readonly sha256: string;
}

export const streamRss: Target = {
  id: 'stream-rss',
  about:
    'steady resident memory of a process that seals a stream, and of one that opens it, with default settings',
  measure: async size => {
    const streamBytes = size === 'real' ? 4096 * MIB : 8 * MIB;
    const { sealing, opening } = await run(scriptFor('stream-rss-child'), streamBytes);
    const lengths = [sealing.plainBytes, opening.plainBytes];
    if (lengths.some(bytes => bytes !== streamBytes) || sealing.sha256 !== opening.sha256) {
      throw new Error('the stream does not round-trip');
    }
    return [toMeasurement(sealing), toMeasurement(opening)];
  },
};

/** Runs both processes, joined by a pipe. Returns their reports. */
async function run(
  script: string,
  streamBytes: number,
): Promise<Record<StreamRssReport['mode'], StreamRssReport>> {
  const line = '"$0" "$1" seal "$2" | "$0" "$1" open "$2"';
  const args = ['-c', line, process.execPath, script, String(streamBytes)];
  const shell = spawn('sh', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let text = '';
  shell.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  const [code] = await once(shell, 'close');
  const reports = text
    .split('\n')
    .filter(row => row.startsWith('{'))
    .map(row => JSON.parse(row) as StreamRssReport);
  const sealing = reports.find(({ mode }) => mode === 'sealing');
  const opening = reports.find(({ mode }) => mode === 'opening');
  if (code !== 0 || sealing === undefined || opening === undefined) {
    throw new Error(`the measured processes ended with ${code}: ${text}`);
  }
  return { sealing, opening };
}

function toMeasurement(report: StreamRssReport): Measurement {
  const rate = report.plainBytes / 1e6 / report.seconds;
  return {
    what: report.mode,
    measured: report.steadyBytes / MIB,
    bound: 200,
    sense: '<=',
    unit: 'MiB',
    detail: `${report.plainBytes / MIB} MiB at ${rate.toFixed(0)} MB/s; peak ${(report.peakBytes / MIB).toFixed(0)} MiB`,
  };
}
