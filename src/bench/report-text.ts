/** The report for a terminal, at most 100 columns wide. */
import Table from 'cli-table3';
import { formatCodec } from '../unit/codec.ts';
import type { BenchReport, ReportedSetting } from './bench.ts';
import { costsOf } from './cost.ts';
import { formatCount, formatNumber, formatSize, sizeColumn } from './format.ts';
import { formatLink } from './link.ts';
import { formatRatio, formatScore } from './recommend.ts';
import { median, ratioOf, type Spread } from './results.ts';
import { type BenchSetting, groupLabel, settingLabel, varyingOf } from './settings.ts';

export interface TextSettings {
  /** True adds colours and bold. Callers set it to false for files, pipes and `NO_COLOR`. */
  readonly color: boolean;
  /** True adds the results on each sample, for every setting. */
  readonly details: boolean;
}

const WIDTH = 100;

/** Returns the whole report as text that ends with a newline. */
export function reportToText(report: BenchReport, settings: TextSettings): string {
  const style = styleOf(settings.color);
  const { winner } = report.recommendation;
  const recommended = report.results.find(({ setting }) => setting === winner.setting);
  const parts = [
    heading(report),
    resultTable(report, style),
    recommended === undefined ? '' : sampleTable(report, recommended, style, ', as recommended'),
    recommendationText(report, style),
    report.notes.map(note => wrap(`note: ${note}`, '      ')).join('\n'),
    settings.details ? report.results.map(result => sampleTable(report, result, style, '')).join('\n\n') : '',
  ];
  return `${parts.filter(part => part !== '').join('\n\n')}\n`;
}

interface Style {
  readonly bold: (text: string) => string;
  readonly dim: (text: string) => string;
  readonly good: (text: string) => string;
  readonly color: boolean;
}

function styleOf(color: boolean): Style {
  const wrapIn =
    (start: number, end: number) =>
    (text: string): string =>
      color ? `\u001b[${start}m${text}\u001b[${end}m` : text;
  return { bold: wrapIn(1, 22), dim: wrapIn(2, 22), good: wrapIn(32, 39), color };
}

function heading(report: BenchReport): string {
  const { machine, settings } = report;
  const workers = settings.workers === 0 ? 'no workers' : `${settings.workers} workers`;
  const sampled = report.samples.reduce((sum, sample) => sum + sample.sampledBytes, 0);
  return [
    `${machine.cpu}, ${machine.cores} cores, ${machine.platform}, Node ${machine.node}; ${workers}`,
    `link ${formatLink(settings.link)} round trip; ${formatSize(sampled)} of ${formatCount(report.samples.length, 'kind')} of data; every round trip checked`,
  ]
    .map(line => wrap(line, ''))
    .join('\n');
}

function newTable(style: Style, head: readonly string[]): Table.Table {
  const lines = { top: '', 'top-mid': '', 'top-left': '', 'top-right': '', bottom: '', 'bottom-mid': '' };
  const sides = { 'bottom-left': '', 'bottom-right': '', left: '', 'left-mid': '', mid: '', 'mid-mid': '' };
  return new Table({
    head: [...head],
    colAligns: head.map((_, at) => (at === 0 ? 'left' : 'right')),
    chars: { ...lines, ...sides, right: '', 'right-mid': '', middle: '' },
    style: {
      head: style.color ? ['bold'] : [],
      border: [],
      'padding-left': 0,
      'padding-right': 2,
      compact: true,
    },
  });
}

/** The heads of the columns that both tables have, with their units in a second line. */
function columnHeads(storedUnit: string): string[] {
  return [
    'seal\nMB/s',
    'open\nMB/s',
    'ratio',
    `stored\n${storedUnit}`,
    'read\nms',
    'moved\n×4 KiB',
    'write\nms',
    'moved\n×4 KiB',
  ];
}

function resultTable(report: BenchReport, style: Style): string {
  const varying = varyingOf(report.results.map(({ setting }) => setting));
  const stored = sizeColumn(report.results.map(({ summary }) => summary.storedBytes));
  const memory = sizeColumn(report.results.map(({ workingBytes }) => workingBytes));
  const heads = [...columnHeads(stored.unit), `memory\n${memory.unit}`];
  const table = newTable(style, ['setting', ...heads]);
  const { winner } = report.recommendation;
  let group = '';
  for (const result of report.results) {
    const { setting, summary } = result;
    const label = groupLabel(setting, varying);
    if (label !== group) table.push([{ content: style.bold(label), colSpan: 1 + heads.length }]);
    group = label;
    const isWinner = setting === winner.setting;
    const row = [
      `${isWinner ? '→' : ' '} ${formatCodec(setting.codec)}`,
      megabytes(summary.sealBytesPerSecond),
      megabytes(summary.openBytesPerSecond),
      formatRatio(summary.ratio),
      stored.format(summary.storedBytes),
      ...accessCells(summary.costs),
      memory.format(result.workingBytes),
    ];
    table.push(isWinner ? row.map(style.good) : row);
  }
  const legend = [
    `seal, open: plain bytes through the pipeline, the median of the rounds; ${spreadText(report)}.`,
    'ratio: plain / stored bytes. stored: with overhead and padding.',
    'read, write: a cold random 4 KiB read, a 4 KiB overwrite with its commit, over the link. moved: bytes over the link / 4 KiB.',
    'memory: computed, the buffers that the workers need at the least. ' +
      `Measured: ${formatSize(report.rssPeakBytes)} resident at the peak, ${formatSize(report.rssStartBytes)} before.`,
  ];
  return `${trimmed(table)}\n${legend.map(line => style.dim(wrap(line, ''))).join('\n')}`;
}

/** Says how far apart the rounds of one setting were, as a share of their median. */
function spreadText({ results }: BenchReport): string {
  const share = ({ slowest, fastest }: Spread, middle: number): number => (fastest - slowest) / middle;
  const shares = results
    .flatMap(({ summary }) => [
      share(summary.sealSpread, summary.sealBytesPerSecond),
      share(summary.openSpread, summary.openBytesPerSecond),
    ])
    .filter(Number.isFinite);
  const percent = (value: number): string => `${Math.round(value * 100)}%`;
  return `the slowest and the fastest round are typically ${percent(median(shares))} of it apart, at most ${percent(Math.max(0, ...shares))}`;
}

function accessCells(costs: ReportedSetting['summary']['costs']): string[] {
  const { read, overwrite } = costs;
  return [read, overwrite].flatMap(({ ms, amplification }) => [ms.toFixed(1), formatNumber(amplification)]);
}

function sampleTable(report: BenchReport, result: ReportedSetting, style: Style, why: string): string {
  const varying = varyingOf(report.results.map(({ setting }) => setting));
  const stored = sizeColumn(result.samples.map(({ storedBytes, weight }) => storedBytes * weight));
  const table = newTable(style, ['data', ...columnHeads(stored.unit), 'holes\n%']);
  for (const sample of result.samples) {
    table.push([
      `  ${shorten(sample.sample)}`,
      megabytes(sample.sealBytesPerSecond),
      megabytes(sample.openBytesPerSecond),
      formatRatio(ratioOf(sample)),
      stored.format(sample.storedBytes * sample.weight),
      ...accessCells(costsOf(report.settings.link, sample, result.setting.unitSizeBytes)),
      String(Math.round((sample.holeCount / sample.unitCount) * 100)),
    ]);
  }
  const title = wrap(`${settingLabel(result.setting, varying)}${why}, by kind of data`, '');
  return `${style.bold(title)}\n${trimmed(table)}`;
}

const NAME_WIDTH = 22;

/** Shortens a name from its start, because the end of a path says more. */
function shorten(name: string): string {
  const printable = name.replace(/\p{Cc}/gu, '?');
  return printable.length <= NAME_WIDTH ? printable : `…${printable.slice(1 - NAME_WIDTH)}`;
}

function recommendationText(report: BenchReport, style: Style): string {
  const { recommendation } = report;
  const { winner, alternatives, reasons, workload } = recommendation;
  const title = wrap(
    `For a ${workload} workload: ${longLabel(winner.setting)} (score ${formatScore(winner.score)})`,
    '',
  );
  return [
    style.bold(style.good(title)),
    ...reasons.map(reason => wrap(`  - ${reason}`, '    ')),
    ...(alternatives.length === 0 ? [] : ['Instead:']),
    ...alternatives.map(({ text }) => wrap(`  - ${text}`, '    ')),
  ].join('\n');
}

/** Names all parts of a setting that a user may have to configure. */
function longLabel(setting: BenchSetting): string {
  return settingLabel(setting, { paddings: true, suites: true, providers: setting.providers !== 'auto' });
}

function megabytes(bytesPerSecond: number): string {
  return Number.isFinite(bytesPerSecond) ? formatNumber(bytesPerSecond / 1e6) : '-';
}

function trimmed(table: Table.Table): string {
  return table
    .toString()
    .split('\n')
    .map(line => line.trimEnd())
    .filter(line => line !== '')
    .join('\n');
}

/** Wraps text at spaces, within 100 columns. Lines after the first start with `indent`. */
export function wrap(text: string, indent: string): string {
  const lines: string[] = [];
  let line = /^ */.exec(text)?.[0] ?? '';
  for (const word of text.trimStart().split(' ')) {
    const isStart = line.trim() === '';
    if (!isStart && line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = `${indent}${word}`;
    } else {
      line += isStart ? word : ` ${word}`;
    }
  }
  return [...lines, line].join('\n');
}
