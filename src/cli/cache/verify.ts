/** `netseal cache verify`: checks whether everything in a cache is as it was written. */
import type { Command } from 'commander';
import { toHex } from '../../base/bytes.ts';
import { isNetsealError, messageOf } from '../../base/errors.ts';
import type { Cache } from '../../cache/cache.ts';
import type { Damage } from '../../cache/inspect/contents.ts';
import { EXIT_DAMAGED } from '../lib/exit-codes.ts';
import { jsonDocument } from '../lib/json.ts';
import { printable } from '../lib/printable.ts';
import { startProgress } from '../lib/progress.ts';
import { formatCount, formatSize } from '../lib/sizes.ts';
import { objectFields, showObject } from './object-names.ts';
import { type CacheAccess, type CacheOptions, cacheCommand, withCache } from './opening.ts';

interface VerifyOptions extends CacheOptions {
  readonly repair?: boolean;
}

const NOTES = `
Everything is read and compared with the sums that were written with it. With
--repair, damaged units are dropped; they will be fetched again. Units that are
not on the server yet are never dropped, only reported.

Exit code 0: everything is whole; 3: something is or was damaged, repaired or not.`;

/** `netseal cache verify DIR` */
export function command(): Command {
  return cacheCommand('verify', 'Look for damage in a cache.')
    .option('--repair', 'drop damaged units')
    .addHelpText('after', NOTES)
    .action((folder: string, options: VerifyOptions) =>
      withCache(folder, options, access => verify(access, options), { reportsProblems: true }),
    );
}

/** How many damages are listed at the end. Further ones are only counted. */
const SHOWN_MAX = 10_000;

interface Findings {
  readonly shown: Damage[];
  readonly counts: Record<Damage['what'], number>;
}

async function verify(access: CacheAccess, { json = false, repair = false }: VerifyOptions): Promise<void> {
  const { cache, signal, problems, print } = access;
  const { units, bytes } = cache.statistics;
  const findings: Findings = { shown: [], counts: { unit: 0, zone: 0, 'dirty batch': 0 } };
  const progress = startProgress({ label: 'verifying', noun: 'bytes' });
  try {
    const damages = cache.verify({
      repair,
      onProgress: ({ doneBytes, totalBytes }) => {
        signal.throwIfAborted();
        progress.update(doneBytes, totalBytes);
      },
    });
    for await (const damage of damages) {
      findings.counts[damage.what] += 1;
      if (findings.shown.length < SHOWN_MAX) findings.shown.push(damage);
    }
  } finally {
    progress.stop();
  }
  const total = Object.values(findings.counts).reduce((sum, count) => sum + count, 0);
  const checked = { units, bytes };
  if (json) {
    const result = {
      checked,
      repaired: repair,
      counts: {
        units: findings.counts.unit,
        zones: findings.counts.zone,
        dirtyBatches: findings.counts['dirty batch'],
      },
      damages: findings.shown.map(damage => describe(cache, damage)),
      problems: problems.map(describeProblem),
    };
    await print(jsonDocument(result));
  } else {
    const lines = [
      ...problems.map(problem => `found while opening: ${printable(messageOf(problem))}`),
      ...findings.shown.map(damage => damageText(cache, damage)),
      ...(total > findings.shown.length
        ? [`and ${(total - findings.shown.length).toLocaleString('en-US')} more`]
        : []),
      `checked: ${formatCount(units, 'unit')}, ${formatSize(bytes)}`,
      conclusion(findings, problems.length, repair),
    ];
    await print(`${lines.join('\n')}\n`);
  }
  if (total + problems.length > 0) process.exitCode = EXIT_DAMAGED;
}

function damageText(cache: Cache, damage: Damage): string {
  if (damage.what === 'unit') {
    const { volumeId, index, lengthBytes, queue } = damage;
    return `damaged unit ${index} of object ${showObject(cache, damage)} of volume ${toHex(volumeId)}: ${formatSize(lengthBytes)}, ${queue}`;
  }
  if (damage.what === 'zone') {
    return `damaged zone ${damage.path}: ${formatSize(damage.lengthBytes)}, ${damage.queue}; the units in it are not known by name`;
  }
  return `damaged dirty batch ${damage.batchId}: it is not on the server yet, and stays as it is`;
}

function conclusion({ counts }: Findings, problemCount: number, repair: boolean): string {
  const clean = counts.unit + counts.zone;
  const parts = [
    ...(counts.unit > 0 ? [formatCount(counts.unit, 'unit')] : []),
    ...(counts.zone > 0 ? [formatCount(counts.zone, 'zone')] : []),
    ...(counts['dirty batch'] > 0
      ? [formatCount(counts['dirty batch'], 'dirty batch').replace(/batchs$/, 'batches')]
      : []),
  ];
  if (parts.length === 0) return problemCount === 0 ? 'no damage found' : 'no other damage found';
  const what = `damaged: ${parts.join(', ')}`;
  if (clean === 0) return what;
  return repair
    ? `${what}; the damaged copies were dropped, and will be fetched again`
    : `${what}; --repair drops the copies of what is on the server`;
}

function describe(cache: Cache, damage: Damage): Record<string, unknown> {
  if (damage.what === 'unit') {
    const { index, lengthBytes, queue } = damage;
    return { what: 'unit', ...objectFields(cache, damage), index, bytes: lengthBytes, queue };
  }
  if (damage.what === 'zone') {
    return { what: 'zone', path: damage.path, bytes: damage.lengthBytes, queue: damage.queue };
  }
  return { what: 'dirtyBatch', batch: damage.batchId };
}

function describeProblem(problem: unknown): Record<string, unknown> {
  const code = isNetsealError(problem) ? { code: problem.code } : {};
  return { ...code, message: messageOf(problem) };
}
