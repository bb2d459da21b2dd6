/** The three reports of one small real sweep over files with unfriendly names. */
import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type BenchReport, runBench } from '../../src/bench/bench.ts';
import { LINK_DEFAULT } from '../../src/bench/link.ts';
import { PAGE_SCRIPT } from '../../src/bench/page-script.ts';
import { escapeHtml, reportToHtml } from '../../src/bench/report-html.ts';
import { reportToJson } from '../../src/bench/report-json.ts';
import { reportToText, wrap } from '../../src/bench/report-text.ts';
import { GRID_DEFAULT } from '../../src/bench/settings.ts';

const KIB = 1024;
const EVIL = `<img src=x onerror=alert(1)>"'&amp;.txt`;
const EVIL_SCRIPT = 'a <!--<script>alert(1).txt';
const LONG = `${'long-'.repeat(30)}.txt`;

let folder = '';
let report: BenchReport;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'netseal-report-'));
  const names = [EVIL, EVIL_SCRIPT, LONG];
  for (const name of names) await writeFile(join(folder, name), 'some text, '.repeat(9000));
  await writeFile(join(folder, 'zeros'), new Uint8Array(16 * KIB));
  report = await runBench({
    paths: [...names, 'zeros'].map(name => join(folder, name)),
    grid: {
      ...GRID_DEFAULT,
      unitSizesBytes: [4 * KIB, 64 * KIB],
      paddings: ['none', 4 * KIB],
      suites: ['xaes-256-gcm', 'xchacha20-poly1305'],
    },
    workers: 0,
    link: LINK_DEFAULT,
    workload: 'mixed',
    sampleBytes: 64 * KIB,
    timeMs: 1,
    roundBytesMin: 0,
  });
});

afterAll(async () => {
  await rm(folder, { recursive: true });
});

describe('JSON', () => {
  it('has the documented fields, and survives a round trip', () => {
    const json = reportToJson(report);
    expect(JSON.parse(JSON.stringify(json))).toEqual(json);
    expect(json).toMatchObject({
      format: 'netseal-bench',
      version: 2,
      isComplete: true,
      createdAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
      machine: { node: process.version, cores: expect.any(Number), cpu: expect.any(String) },
      workers: 0,
      link: { bytesPerSecond: 125_000_000, roundTripMs: 20 },
      workload: 'mixed',
      memory: { rssStartBytes: expect.any(Number), rssPeakBytes: expect.any(Number) },
      recommendation: { tolerance: 0.05, alternatives: expect.any(Array), reasons: expect.any(Array) },
    });
    const { results, samples } = json as { results: object[]; samples: object[] };
    expect(samples).toHaveLength(4);
    expect(results).toHaveLength(2 * 2 * 4 * 2);
    for (const result of results) {
      expect(result).toEqual({
        setting: expect.any(String),
        unitSizeBytes: expect.any(Number),
        padding: expect.toSatisfy(padding => padding === 'none' || padding === 4 * KIB),
        codec: expect.any(String),
        cipher: expect.any(String),
        provider: 'auto',
        providers: { codec: expect.toBeOneOf([null, 'native', 'portable']), cipher: expect.any(String) },
        score: expect.any(Number),
        workingBytes: expect.any(Number),
        summary: expect.objectContaining({ ratio: expect.any(Number), randomReadMs: expect.any(Number) }),
        samples: expect.any(Array),
      });
    }
  });

  it('the recommended setting is one of the results', () => {
    const { results, recommendation } = reportToJson(report) as {
      results: { setting: string }[];
      recommendation: { setting: string };
    };
    expect(results.map(({ setting }) => setting)).toContain(recommendation.setting);
  });

  it('infinity, as the ratio of nothing but holes, is null', () => {
    const { results } = reportToJson(report) as { results: { samples: { ratio: unknown }[] }[] };
    expect(results[0]?.samples[3]?.ratio).toBeNull();
  });
});

describe('HTML', () => {
  it('loads nothing from anywhere', async () => {
    const page = await reportToHtml(report);
    const markup = page.replaceAll(/<script[^>]*>[\s\S]*?<\/script>/g, '');
    expect(markup).not.toMatch(/https?:|@import|url\s*\(|<iframe/i);
    expect(markup.match(/\b(?:src|href)="[^"]*"/g)).toEqual(['href="data:,"']);
    expect(page.includes('sourceMappingURL')).toBe(false);
    // Whatever the scripts might try, this forbids.
    expect(markup).toContain(`content="default-src 'none'; img-src data:; style-src 'sha256-`);
  });

  it('its policy allows exactly the scripts and the style that it has', async () => {
    const page = await reportToHtml(report);
    const inline = [...page.matchAll(/<(script|style)>([\s\S]*?)<\/\1>/g)].map(match => match[2]!);
    expect(inline).toHaveLength(3);
    for (const text of inline) {
      const hash = createHash('sha256').update(text).digest('base64');
      expect(page.includes(`'sha256-${hash}'`)).toBe(true);
    }
  });

  it('names are text, never markup', async () => {
    const page = await reportToHtml(report);
    const markup = page.replaceAll(/<script[^>]*>[\s\S]*?<\/script>/g, '');
    expect(markup).not.toContain('<img');
    expect(markup).not.toContain('<!--');
    expect(markup).toContain(escapeHtml(EVIL));
  });

  it('carries the JSON document, which names cannot break out of', async () => {
    const page = await reportToHtml(report);
    const data = /<script type="application\/json" id="data">([\s\S]*?)<\/script>/.exec(page)?.[1] ?? '';
    expect(data).not.toContain('<');
    expect(JSON.parse(data)).toEqual(reportToJson(report));
  });

  it('heads name the units, which the cells leave out', async () => {
    const page = await reportToHtml(report);
    const heads = [...page.matchAll(/<th>([^<]*)<\/th>/g)].map(match => match[1]);
    expect(heads).toEqual(expect.arrayContaining(['seal, MB/s', 'random read, ms', 'moved, × 4 KiB']));
    expect(heads).toEqual(expect.arrayContaining([expect.stringMatching(/^stored, ([KM]i)?B$/)]));
    const body = /All settings[\s\S]*?<tbody>([\s\S]*?)<\/tbody>/.exec(page)?.[1];
    expect(body).not.toMatch(/<td>[^<]*(MB\/s|iB|ms|×)<\/td>/);
  });

  it('lines between measured sizes are straight, axes are named, and the spread of the rounds is drawn', () => {
    expect(PAGE_SCRIPT).not.toContain('cubicInterpolationMode');
    expect(PAGE_SCRIPT.match(/tension: 0,/g)).toHaveLength(2);
    expect(PAGE_SCRIPT).not.toContain("axis('',");
    const { results } = reportToJson(report) as {
      results: {
        summary: { sealBytesPerSecond: number; sealSpread: { slowest: number; fastest: number } };
      }[];
    };
    for (const { summary } of results) {
      const { slowest, fastest } = summary.sealSpread;
      expect(slowest).toBeLessThanOrEqual(summary.sealBytesPerSecond);
      expect(fastest).toBeGreaterThanOrEqual(summary.sealBytesPerSecond);
    }
  });

  it('escapes what has a meaning in HTML', () => {
    expect(escapeHtml(`a<b>&"'\u0007`)).toBe('a&lt;b&gt;&amp;&quot;&#39;?');
  });
});

describe('text', () => {
  it('fits 100 columns, with and without details', () => {
    for (const details of [false, true]) {
      for (const line of reportToText(report, { color: false, details }).split('\n')) {
        // A single word, such as a path, cannot be broken.
        if (line.trim().includes(' ')) expect(line.length, line).toBeLessThanOrEqual(100);
      }
    }
  });

  it('has no escape sequences unless asked for', () => {
    expect(reportToText(report, { color: false, details: false })).not.toContain('\u001b');
    expect(reportToText(report, { color: true, details: false })).toContain('\u001b[');
  });

  it('names every unit size and the recommendation', () => {
    const text = reportToText(report, { color: false, details: false });
    expect(text).toContain('4 KiB units, no padding, xaes-256-gcm\n');
    expect(text).toContain('64 KiB units, 4 KiB padding, xchacha20-poly1305\n');
    expect(text).toMatch(/^For a mixed workload: /m);
    expect(text.match(/^→ /gm)).toHaveLength(1);
  });

  it('details show every setting by kind of data', () => {
    const text = reportToText(report, { color: false, details: true });
    expect(text.match(/by kind of data$/gm)).toHaveLength(1 + report.results.length);
  });

  it('lines break at spaces', () => {
    const wrapped = wrap(`  - ${'word '.repeat(40).trim()}`, '    ').split('\n');
    expect(wrapped[0]).toMatch(/^ {2}- word/);
    for (const line of wrapped.slice(1)) expect(line).toMatch(/^ {4}word/);
    expect(Math.max(...wrapped.map(line => line.length))).toBeLessThanOrEqual(100);
  });
});
