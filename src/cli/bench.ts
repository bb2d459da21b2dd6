/** `netseal bench`: reads the arguments, and writes the report. The measuring itself is in `src/bench`. */
import { stat } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { dirname } from 'node:path';
import { Command, Option } from 'commander';
import { NetsealError, requireArgument } from '../base/errors.ts';
import { KIB } from '../base/geometry.ts';
import { type BenchReport, type BenchSettings, runBench } from '../bench/bench.ts';
import { WORKLOADS, type Workload } from '../bench/recommend.ts';
import { reportToHtml } from '../bench/report-html.ts';
import { reportToJson } from '../bench/report-json.ts';
import { reportToText } from '../bench/report-text.ts';
import { expandGrid } from '../bench/settings.ts';
import { WORKERS_MAX } from '../pipeline/settings.ts';
import { parseCodec } from '../unit/codec.ts';
import type { ProviderChoice } from '../unit/providers.ts';
import { SUITE_IDS, type SuiteName } from '../unit/record-format.ts';
import { EXIT_INTERRUPTED } from './lib/exit-codes.ts';
import { withInterrupt } from './lib/interrupt.ts';
import { openOutput } from './lib/output.ts';
import { startProgress } from './lib/progress.ts';
import { parseCount, parseDuration, parseLink, parseList, parseSize } from './lib/sizes.ts';
import { parsePadding } from './lib/unit-options.ts';

/** The streams that the command writes to. Tests pass their own. */
export interface BenchIo {
  readonly stdout: { write(text: string): unknown; readonly isTTY?: boolean | undefined };
  readonly stderr: NodeJS.WriteStream;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** Text as it was typed. */
interface BenchOptions {
  readonly unitSizes: string;
  readonly paddings: string;
  readonly codecs: string;
  readonly ciphers: string;
  readonly providers: string;
  readonly workers: string;
  readonly link: string;
  readonly workload: string;
  readonly sample: string;
  readonly time: string;
  readonly details?: boolean;
  readonly json?: boolean;
  readonly html?: string;
  readonly force?: boolean;
}

const SAMPLE_BYTES_MIN: number = 4 * KIB;
const TIME_MS_MAX = 600_000;

const EPILOGUE = `
Examples:
  netseal bench                                      the built-in corpus
  netseal bench ~/mail data.db --workload random     your own files
  netseal bench --link 10Gbit/s,0.3ms --html out.html

Ctrl-C stops and reports what was measured so far (exit code 130).`;

/** `netseal bench [FILE...]` */
export function command(): Command {
  return benchCommand(process);
}

/** Returns the command. Its action rejects with a NetsealError. */
export function benchCommand(io: BenchIo): Command {
  return new Command('bench')
    .description('measure unit sizes, codecs and ciphers on your data, and recommend a setting')
    .argument('[file...]', 'files and folders to measure on (default: a built-in corpus)')
    .option('--unit-sizes <sizes>', 'unit sizes, 4KiB to 16MiB', '4KiB,16KiB,64KiB,256KiB,1MiB,4MiB')
    .option('--paddings <paddings>', 'padme, none, sizes up to 64KiB', 'padme')
    .option('--codecs <codecs>', 'stored, zstd:1-19, deflate:1-9', 'stored,zstd:1,zstd:3,deflate:1')
    .option('--ciphers <suites>', Object.keys(SUITE_IDS).join(', '), 'xaes-256-gcm')
    .option('--providers <choices>', `libraries: ${PROVIDER_CHOICES.join(', ')}`, 'auto')
    .addOption(
      new Option('--workers <count>', 'worker threads; 0 for none').default(
        String(availableParallelism()),
        'one per processor',
      ),
    )
    .option('--link <rate,round-trip>', 'bandwidth and round trip to the server', '1Gbit/s,20ms')
    .option('--workload <kind>', `the use to recommend for: ${WORKLOADS.join(', ')}`, 'mixed')
    .option('--sample <size>', 'measure on at most this much of each file or kind', '64MiB')
    .option('--time <duration>', 'time for each setting and kind of data', '200ms')
    .option('--details', 'also print every setting by kind of data')
    .option('--json', 'print one JSON document and nothing else')
    .option('--html <path>', 'write a page with charts')
    .option('--force', 'replace an existing page')
    .addHelpText('after', EPILOGUE)
    .action(async (paths: string[], options: BenchOptions) => {
      await bench(paths, options, io);
    });
}

async function bench(paths: readonly string[], options: BenchOptions, io: BenchIo): Promise<void> {
  const settings = readSettings(paths, options);
  await checkHtmlPath(options);
  const report = await run(settings, io);
  if (options.html !== undefined) await writeHtml(options.html, options.force === true, report, io);
  if (options.json === true) {
    io.stdout.write(`${JSON.stringify(reportToJson(report), null, 2)}\n`);
  } else {
    const color = io.stdout.isTTY === true && (io.env.NO_COLOR ?? '') === '';
    io.stdout.write(reportToText(report, { color, details: options.details === true }));
  }
}

const PROVIDER_CHOICES: readonly ProviderChoice[] = ['auto', 'native', 'portable'];

/** Reads and checks everything that was typed, before anything is measured. EINVAL. */
function readSettings(paths: readonly string[], options: BenchOptions): BenchSettings {
  const parseWord =
    <Word extends string>(what: string, words: readonly Word[]) =>
    (text: string): Word => {
      const word = words.find(known => known === text);
      requireArgument(word !== undefined, `${what}: "${text}" is not one of ${words.join(', ')}`);
      return word;
    };
  const suites = Object.keys(SUITE_IDS) as SuiteName[];
  const grid = {
    unitSizesBytes: parseList(options.unitSizes, '--unit-sizes', text => parseSize(text, '--unit-sizes')),
    paddings: parseList(options.paddings, '--paddings', text => parsePadding(text, '--paddings')),
    codecs: parseList(options.codecs, '--codecs', parseCodec),
    suites: parseList(options.ciphers, '--ciphers', parseWord('--ciphers', suites)),
    providers: parseList(options.providers, '--providers', parseWord('--providers', PROVIDER_CHOICES)),
  };
  expandGrid(grid);
  const sampleBytes = parseSize(options.sample, '--sample');
  requireArgument(
    sampleBytes >= SAMPLE_BYTES_MIN,
    `--sample: must be at least 4KiB, not "${options.sample}"`,
  );
  const timeMs = parseDuration(options.time, '--time');
  requireArgument(
    timeMs >= 1 && timeMs <= TIME_MS_MAX,
    `--time: must be from 1ms to 10min, not "${options.time}"`,
  );
  return {
    paths,
    grid,
    workers: parseCount(options.workers, '--workers', 0, WORKERS_MAX),
    link: parseLink(options.link, '--link'),
    workload: parseWord<Workload>('--workload', WORKLOADS)(options.workload),
    sampleBytes,
    timeMs,
  };
}

/** Checks that the page can be written, rather than fail after minutes of measuring. EEXIST, EINVAL. */
async function checkHtmlPath({ html, force }: BenchOptions): Promise<void> {
  if (html === undefined) return;
  const folder = await stat(dirname(html)).catch(() => undefined);
  requireArgument(folder?.isDirectory() === true, `--html: no such folder: ${dirname(html)}`);
  const page = await stat(html).catch(() => undefined);
  if (page !== undefined && force !== true) {
    throw new NetsealError('EEXIST', `${html} already exists: choose another name, or --force to replace it`);
  }
}

/** Measures. Ctrl-C ends it with what was measured so far, or with an AbortError when that is nothing. */
async function run(settings: BenchSettings, io: BenchIo): Promise<BenchReport> {
  const progress = startProgress({ label: 'measuring', noun: 'measurement', stream: io.stderr });
  try {
    const report = await withInterrupt(signal => runBench(settings, { signal, onProgress: progress.update }));
    if (!report.isComplete) process.exitCode = EXIT_INTERRUPTED;
    return report;
  } finally {
    progress.stop();
  }
}

async function writeHtml(path: string, force: boolean, report: BenchReport, io: BenchIo): Promise<void> {
  const page = Buffer.from(await reportToHtml(report));
  const output = await openOutput({ output: path, force });
  try {
    await output.write(page);
    await output.commit();
  } finally {
    await output.close();
  }
  io.stderr.write(`wrote ${path}\n`);
}
