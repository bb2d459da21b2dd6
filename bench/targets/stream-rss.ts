/** Memory of a process that seals a long stream and opens it again. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Target } from '../target.ts';

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

/** What the measured process prints, as one line of JSON. */
export interface StreamRssReport {
  readonly streamBytes: number;
  readonly sealedBytes: number;
  /** Largest resident size after the first tenth of the stream. */
  readonly steadyBytes: number;
  readonly seconds: number;
  readonly isSame: boolean;
}

export const streamRss: Target = {
  id: 'stream-rss',
  about: 'resident memory of a process that seals and opens a stream with default settings',
  measure: async size => {
    const streamBytes = size === 'real' ? 4 * GIB : 8 * MIB;
    const report = await runChild(streamBytes);
    if (!report.isSame || report.streamBytes !== streamBytes)
      throw new Error('the stream does not round-trip');
    const rate = report.streamBytes / 1e6 / report.seconds;
    return [
      {
        what: 'resident',
        measured: report.steadyBytes / MIB,
        bound: 200,
        sense: '<=',
        unit: 'MiB',
        detail: `${streamBytes / MIB} MiB sealed and opened in one process at ${rate.toFixed(0)} MB/s`,
      },
    ];
  },
};

function runChild(streamBytes: number): Promise<StreamRssReport> {
  const script = fileURLToPath(new URL('../stream-rss-child.ts', import.meta.url));
  const child = spawn(process.execPath, [script, String(streamBytes)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', code => {
      if (code === 0) resolve(JSON.parse(text) as StreamRssReport);
      else reject(new Error(`the measured process ended with ${code}`));
    });
  });
}
