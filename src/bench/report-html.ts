/**
 * The report as one HTML page that contains all it needs: style, script, Chart.js and data. File names and
 * all other text from outside are escaped, and a content security policy lets only the page's own scripts
 * run.
 */
import { createHash } from 'node:crypto';
import { formatCodec } from '../unit/codec.ts';
import type { BenchReport, ReportedSetting } from './bench.ts';
import { readChartScript } from './chart-script.ts';
import {
  formatCount,
  formatDuration,
  formatNumber,
  formatSize,
  type SizeColumn,
  sizeColumn,
} from './format.ts';
import { formatLink } from './link.ts';
import { PAGE_SCRIPT } from './page-script.ts';
import { PAGE_STYLE } from './page-style.ts';
import { formatMsPerMiB, formatRate, formatRatio, formatScore, type Scored } from './recommend.ts';
import { reportToJson } from './report-json.ts';
import type { Spread } from './results.ts';
import { type BenchSetting, groupLabel, settingLabel, varyingOf } from './settings.ts';

/** Returns the page as text. Rejects with the system's error when Chart.js cannot be read. */
export async function reportToHtml(report: BenchReport): Promise<string> {
  const chartScript = await readChartScript();
  const data = JSON.stringify(reportToJson(report)).replaceAll('<', '\\u003c');
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${contentPolicy([chartScript, PAGE_SCRIPT], PAGE_STYLE)}">
<meta name="referrer" content="no-referrer">
<link rel="icon" href="data:,">
<title>netseal bench: ${escapeHtml(longLabel(report.recommendation.winner.setting))}</title>
<style>${PAGE_STYLE}</style>
</head>
<body>
<main>
${header(report)}
${hero(report)}
${alternatives(report)}
${charts(report)}
${resultTable(report)}
${facts(report)}
</main>
<script type="application/json" id="data">${data}</script>
<script>${chartScript}</script>
<script>${PAGE_SCRIPT}</script>
</body>
</html>
`;
}

/** Escapes text for use in HTML text and quoted attributes. Control characters become question marks. */
export function escapeHtml(text: string): string {
  const entities: Readonly<Record<string, string>> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
    "'": '&#39;',
  };
  return text.replace(/\p{Cc}/gu, '?').replace(/[&<>"']/g, character => entities[character] ?? '');
}

function contentPolicy(scripts: readonly string[], style: string): string {
  const hash = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
  return `default-src 'none'; img-src data:; style-src ${hash(style)}; script-src ${scripts.map(hash).join(' ')}`;
}

function header({ machine, createdAt, isComplete }: BenchReport): string {
  const line = `${machine.cpu}, ${machine.cores} cores, Node ${machine.node}, ${createdAt.toISOString().slice(0, 10)}`;
  const early = isComplete ? '' : ' (stopped early)';
  return `<header><h1>netseal bench${early}</h1><p class="soft">${escapeHtml(line)}</p></header>`;
}

function hero({ recommendation, settings }: BenchReport): string {
  const { winner, workload, reasons } = recommendation;
  const { costs, ratio, plainBytes, storedBytes } = winner.summary;
  const tiles = [
    [formatRatio(ratio), 'plain bytes for each stored byte'],
    [formatSize(Math.round(storedBytes)), `stored for ${formatSize(Math.round(plainBytes))}`],
    [formatDuration(costs.read.ms), 'cold random 4 KiB read'],
    [formatDuration(costs.overwrite.ms), '4 KiB overwrite, committed'],
    [formatMsPerMiB(costs.sequentialReadMsPerMiB), 'sequential read'],
    [formatMsPerMiB(costs.sequentialWriteMsPerMiB), 'sequential write'],
  ];
  return `<section class="card hero">
<p class="soft">Recommended for a ${workload} workload over ${escapeHtml(formatLink(settings.link))} round trip</p>
<p class="choice">${escapeHtml(shortLabel(winner.setting))}</p>
<p class="soft">${escapeHtml(longLabel(winner.setting))}</p>
<div class="tiles">${tiles.map(([value, what]) => `<div class="tile"><b>${escapeHtml(value ?? '')}</b><span>${escapeHtml(what ?? '')}</span></div>`).join('')}</div>
<ul>${reasons.map(reason => `<li>${escapeHtml(reason)}</li>`).join('')}</ul>
</section>`;
}

function alternatives(report: BenchReport): string {
  const { winner, alternatives: others } = report.recommendation;
  const varying = varyingOf(report.results.map(({ setting }) => setting));
  const row = (role: string, { setting, summary, score }: Scored, mark: string): string => {
    const { costs, storedBytes } = summary;
    const stored = Math.round((storedBytes / winner.summary.storedBytes) * 100);
    const cells = [
      formatNumber(costs.read.ms),
      formatNumber(costs.overwrite.ms),
      formatRate(costs.sequentialReadMsPerMiB),
      formatRate(costs.sequentialWriteMsPerMiB),
      Number.isFinite(stored) ? String(stored) : '-',
      formatScore(score),
    ];
    return `<tr${mark}><td>${escapeHtml(role)}</td><td>${escapeHtml(settingLabel(setting, varying))}</td>${cellsOf(cells)}</tr>`;
  };
  const heads = [
    '',
    'setting',
    'random read, ms',
    'overwrite, ms',
    'seq. read, MB/s',
    'seq. write, MB/s',
    'stored, % of recommended',
    'score, 1 is ideal',
  ];
  return `<h2>Against the alternatives</h2>
<div class="card scroll"><table class="named"><thead><tr>${heads.map(head => `<th>${head}</th>`).join('')}</tr></thead><tbody>
${row('recommended', winner, ' class="winner"')}
${others.map(other => row(other.role, other, '')).join('\n')}
</tbody></table></div>
<p class="soft">Score: how much worse than the best of the sweep in everything, as a weighted geometric mean; 1.00 would be best in everything.
Of the settings within ${report.recommendation.tolerance * 100}% of the best score the simplest is recommended.</p>`;
}

const CHARTS: readonly (readonly [id: string, title: string, explanation: string])[] = [
  [
    'seal',
    'Sealing',
    'plain bytes through the pipeline, logarithmic; the bars span the slowest and the fastest round; more is better',
  ],
  [
    'open',
    'Opening',
    'plain bytes through the pipeline, logarithmic; the bars span the slowest and the fastest round; more is better',
  ],
  ['ratio', 'Ratio', 'plain bytes for each stored byte; more is better'],
  ['stored', 'Stored', 'records with overhead and padding, % of plain; less is better'],
  ['read', 'Random read', 'a cold 4 KiB over the link; less is better'],
  ['overwrite', 'Overwrite', '4 KiB written and committed over the link; less is better'],
];

function charts({ samples }: BenchReport): string {
  const options = samples.map(
    ({ name }) => `<option value="${escapeHtml(name)}">${escapeHtml(name)}</option>`,
  );
  const card = ([id, title, explanation]: readonly [string, string, string], wide = ''): string =>
    `<div class="card chart${wide}"><h3>${title}</h3><p class="soft">${explanation}</p>` +
    `<div class="plot"><canvas id="${id}" role="img" aria-label="${title}: ${explanation}"></canvas></div></div>`;
  const scatter = [
    'scatter',
    'What space costs in latency',
    'each line is a codec from small units (left) to large; lower left is better; the read is logarithmic',
  ] as const;
  return `<div class="toolbar"><h2>By unit size</h2><label class="soft" for="sample">Data
<select id="sample"><option value="">all together</option>${options.join('')}</select></label></div>
<ul class="legend" id="legend"></ul>
<div class="charts">${card(scatter, ' wide')}${CHARTS.map(chart => card(chart)).join('')}</div>`;
}

function resultTable(report: BenchReport): string {
  const varying = varyingOf(report.results.map(({ setting }) => setting));
  const { winner } = report.recommendation;
  const stored = sizeColumn(report.results.map(({ summary }) => summary.storedBytes));
  const memory = sizeColumn(report.results.map(result => result.workingBytes));
  const heads = [
    '',
    'seal, MB/s',
    'slowest to fastest',
    'open, MB/s',
    'slowest to fastest',
    'ratio, plain / stored',
    `stored, ${stored.unit}`,
    'random read, ms',
    'moved, × 4 KiB',
    'overwrite, ms',
    'moved, × 4 KiB',
    `memory, ${memory.unit}`,
  ];
  const groups = Map.groupBy(report.results, ({ setting }) => groupLabel(setting, varying));
  const bodies = [...groups].map(([label, results]) => {
    const title = `<tr class="group"><th colspan="${heads.length}">${escapeHtml(label)}</th></tr>`;
    return (
      title +
      results
        .map(result => resultRow(result, { stored, memory }, result.setting === winner.setting))
        .join('\n')
    );
  });
  return `<h2>All settings</h2>
<div class="card scroll"><table><thead><tr>${heads.map(head => `<th>${head}</th>`).join('')}</tr></thead>
<tbody>${bodies.join('\n')}</tbody></table></div>
<p class="soft">Seal, open: the median of the rounds, then the slowest and the fastest round. Moved: bytes over the link, as a
multiple of the 4 KiB asked for. Memory: computed, the buffers that the workers need at the least.</p>`;
}

interface SizeColumns {
  readonly stored: SizeColumn;
  readonly memory: SizeColumn;
}

function resultRow(
  { setting, summary, workingBytes }: ReportedSetting,
  { stored, memory }: SizeColumns,
  isWinner: boolean,
): string {
  const { read, overwrite } = summary.costs;
  const megabytes = (rate: number): string => (Number.isFinite(rate) ? formatNumber(rate / 1e6) : '-');
  const range = ({ slowest, fastest }: Spread): string => `${megabytes(slowest)} to ${megabytes(fastest)}`;
  const cells = [
    megabytes(summary.sealBytesPerSecond),
    range(summary.sealSpread),
    megabytes(summary.openBytesPerSecond),
    range(summary.openSpread),
    formatRatio(summary.ratio),
    stored.format(summary.storedBytes),
    formatNumber(read.ms),
    formatNumber(read.amplification),
    formatNumber(overwrite.ms),
    formatNumber(overwrite.amplification),
    memory.format(workingBytes),
  ];
  const label = escapeHtml(formatCodec(setting.codec));
  return `<tr${isWinner ? ' class="winner"' : ''}><td>${label}</td>${cellsOf(cells)}</tr>`;
}

function cellsOf(cells: readonly string[]): string {
  return cells.map(cell => `<td>${escapeHtml(cell)}</td>`).join('');
}

function facts(report: BenchReport): string {
  const { machine, settings, samples, notes } = report;
  const rows = samples.map(
    ({ name, description }) =>
      `<tr><td class="name">${escapeHtml(name)}</td><td>${escapeHtml(description)}</td></tr>`,
  );
  const list: readonly (readonly [string, string])[] = [
    [
      'Machine',
      `${machine.cpu}, ${formatCount(machine.cores, 'core')}, ${formatSize(machine.memoryBytes)}, ${machine.platform}`,
    ],
    ['Software', `Node ${machine.node}, OpenSSL ${machine.openssl}, zstd ${machine.zstd || 'none'}`],
    ['Libraries', librariesOf(report)],
    ['Workers', settings.workers === 0 ? 'none, on the calling thread' : String(settings.workers)],
    [
      'Memory',
      `${formatSize(report.rssPeakBytes)} resident at the peak of the whole bench, ${formatSize(report.rssStartBytes)} before`,
    ],
    [
      'Method',
      `every round trip compared byte for byte, then medians of interleaved rounds, about ${formatDuration(settings.timeMs)} for each setting and kind of data`,
    ],
    ...notes.map(note => ['Note', note] as const),
  ];
  return `<h2>What was measured</h2>
<div class="card scroll"><table><tbody>${rows.join('\n')}</tbody></table></div>
<h2>Where and how</h2>
<div class="card"><dl>${list.map(([term, value]) => `<dt>${term}</dt><dd>${escapeHtml(value)}</dd>`).join('')}</dl></div>`;
}

/** `auto: zstd native, deflate native, xaes-256-gcm node, ...` */
function librariesOf(report: BenchReport): string {
  const choices = new Map(report.results.map(({ setting, providers }) => [setting.providers, providers]));
  return [...choices]
    .map(([choice, { codecs, ciphers }]) => {
      const parts = [...Object.entries(codecs), ...Object.entries(ciphers)].map(
        ([name, provider]) => `${name} ${provider}`,
      );
      return `${choice}: ${parts.join(', ')}`;
    })
    .join('; ');
}

function shortLabel(setting: BenchSetting): string {
  return settingLabel(setting, { paddings: false, suites: false, providers: false });
}

function longLabel(setting: BenchSetting): string {
  return settingLabel(setting, { paddings: true, suites: true, providers: setting.providers !== 'auto' });
}
