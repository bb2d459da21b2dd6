/** Chooses a setting from the summaries of all settings, and gives reasons. Pure. */
import { requireArgument } from '../base/errors.ts';
import type { Summary } from './cost.ts';
import {
  formatChange,
  formatCount,
  formatDuration,
  formatNumber,
  formatSize,
  formatThroughput,
} from './format.ts';
import {
  type BenchSetting,
  SETTING_DEFAULT,
  settingId,
  settingLabel,
  type Varying,
  varyingOf,
} from './settings.ts';

export const WORKLOADS = ['sequential', 'random', 'mixed'] as const;
export type Workload = (typeof WORKLOADS)[number];

/** The values that a setting is judged by. Less is better for each. */
export interface Criteria {
  readonly sequentialRead: number;
  readonly sequentialWrite: number;
  readonly randomRead: number;
  readonly overwrite: number;
  readonly stored: number;
}
export type Criterion = keyof Criteria;

/** The weight of each criterion. The weights of a workload add up to 1. */
export const WORKLOAD_WEIGHTS: Readonly<Record<Workload, Criteria>> = {
  sequential: { sequentialRead: 0.4, sequentialWrite: 0.4, randomRead: 0, overwrite: 0, stored: 0.2 },
  random: { sequentialRead: 0, sequentialWrite: 0, randomRead: 0.4, overwrite: 0.4, stored: 0.2 },
  mixed: { sequentialRead: 0.2, sequentialWrite: 0.2, randomRead: 0.2, overwrite: 0.2, stored: 0.2 },
};

/**
 * Settings whose scores are at most 5 % above the best count as equally good. The simplest of them is
 * recommended.
 */
export const TOLERANCE = 0.05;

/**
 * A setting with its score. A setting that is best at every criterion has 1; a score of 1.1 is a tenth worse.
 */
export interface Scored {
  readonly setting: BenchSetting;
  readonly summary: Summary;
  readonly criteria: Criteria;
  readonly score: number;
}

/** Why an alternative is shown. */
export type AlternativeRole = 'best score' | 'default' | 'runner-up' | 'smaller units' | 'larger units';

export interface Alternative extends Scored {
  readonly role: AlternativeRole;
  /**
   * A comparison with the recommendation, for people:
   * `64 KiB units, zstd:1 (smaller units): random read ...`.
   */
  readonly text: string;
}

export interface Recommendation {
  readonly workload: Workload;
  readonly weights: Criteria;
  readonly tolerance: number;
  readonly winner: Scored;
  /** All settings, best first. */
  readonly ranking: readonly Scored[];
  readonly alternatives: readonly Alternative[];
  /** Why the best score is not recommended, in one sentence; undefined when it is. */
  readonly whyNotBest: string | undefined;
  /** Sentences that give the reasons. The first one says how the score compares with the others. */
  readonly reasons: readonly string[];
}

const CRITERIA: readonly Criterion[] = [
  'sequentialRead',
  'sequentialWrite',
  'randomRead',
  'overwrite',
  'stored',
];

/**
 * Scores all settings and recommends one. A score is the weighted geometric mean of the criteria, each
 * divided by the best value that any setting has. The simplest setting within {@link TOLERANCE} of the best
 * score is recommended.
 *
 * Throws EINVAL when there are no settings.
 */
export function recommend(
  summaries: readonly { readonly setting: BenchSetting; readonly summary: Summary }[],
  workload: Workload,
): Recommendation {
  requireArgument(summaries.length > 0, 'no measured setting to choose from');
  const weights = WORKLOAD_WEIGHTS[workload];
  const ranking = score(summaries, weights);
  const bestScore = ranking[0]?.score ?? 1;
  const near = ranking.filter(scored => scored.score <= bestScore * (1 + TOLERANCE));
  const [winner] = near.toSorted((left, right) => compareSimplicity(left.setting, right.setting));
  requireArgument(winner !== undefined, 'no measured setting to choose from');
  const varying = varyingOf(ranking.map(({ setting }) => setting));
  const alternatives = alternativesOf(winner, ranking, varying);
  const whyNotBest = whyNotBestOf(winner, ranking, varying);
  const reasons = [
    whyNotBest ?? whyBestOf(winner, near),
    ...reasonsFor(winner, workload),
    ...(ranking.some(({ setting }) => isDefault(setting)) ? [] : [DEFAULT_MISSING]),
  ];
  return { workload, weights, tolerance: TOLERANCE, winner, ranking, alternatives, whyNotBest, reasons };
}

function criteriaOf({ costs, storedBytes }: Summary): Criteria {
  return {
    sequentialRead: costs.sequentialReadMsPerMiB,
    sequentialWrite: costs.sequentialWriteMsPerMiB,
    randomRead: costs.read.ms,
    overwrite: costs.overwrite.ms,
    stored: storedBytes,
  };
}

function score(
  summaries: readonly { readonly setting: BenchSetting; readonly summary: Summary }[],
  weights: Criteria,
): Scored[] {
  const measured = summaries.map(({ setting, summary }) => ({
    setting,
    summary,
    criteria: criteriaOf(summary),
  }));
  const scored = measured.map(entry => {
    const exponent = CRITERIA.reduce((sum, criterion) => {
      const best = Math.min(...measured.map(({ criteria }) => criteria[criterion]));
      // When everything is a hole, all settings cost nothing, and this criterion does not count.
      if (best <= 0) return sum;
      return sum + weights[criterion] * Math.log(entry.criteria[criterion] / best);
    }, 0);
    return { ...entry, score: Math.exp(exponent) };
  });
  return scored.sort(
    (left, right) => left.score - right.score || compareSimplicity(left.setting, right.setting),
  );
}

/**
 * Sorts simpler settings first: the default, then no codec, lower levels, the default's codec, suite and
 * providers, smaller units, the default's padding, smaller padding.
 */
function compareSimplicity(left: BenchSetting, right: BenchSetting): number {
  const keys = [left, right].map(setting => [
    isDefault(setting) ? 0 : 1,
    setting.codec.codec === 'stored' ? 0 : 1,
    setting.codec.level,
    setting.codec.codec === SETTING_DEFAULT.codec.codec ? 0 : 1,
    setting.suite === SETTING_DEFAULT.suite ? 0 : 1,
    setting.providers === SETTING_DEFAULT.providers ? 0 : 1,
    setting.unitSizeBytes,
    setting.padding === SETTING_DEFAULT.padding ? 0 : 1,
    typeof setting.padding === 'number' ? setting.padding : 0,
  ]);
  const [leftKeys = [], rightKeys = []] = keys;
  for (const [at, leftKey] of leftKeys.entries()) {
    const difference = leftKey - (rightKeys[at] ?? leftKey);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** True for the default setting, whatever its provider: providers store the same bytes. */
function isDefault(setting: BenchSetting): boolean {
  return settingId({ ...setting, providers: 'auto' }) === settingId(SETTING_DEFAULT);
}

function alternativesOf(winner: Scored, ranking: readonly Scored[], varying: Varying): Alternative[] {
  const likeWinner = ranking
    .filter(
      ({ setting }) =>
        settingId({ ...setting, unitSizeBytes: winner.setting.unitSizeBytes }) === settingId(winner.setting),
    )
    .toSorted((left, right) => left.setting.unitSizeBytes - right.setting.unitSizeBytes);
  const at = likeWinner.indexOf(winner);
  const [best] = ranking;
  const candidates: readonly (readonly [AlternativeRole, Scored | undefined])[] = [
    ['best score', best],
    ['default', ranking.find(({ setting }) => isDefault(setting))],
    ['runner-up', best === winner ? ranking[1] : undefined],
    ['smaller units', likeWinner[at - 1]],
    ['larger units', likeWinner[at + 1]],
  ];
  const shown = new Set<Scored>([winner]);
  return candidates.flatMap(([role, scored]) => {
    if (scored === undefined || shown.has(scored)) return [];
    shown.add(scored);
    const label = settingLabel(scored.setting, varying);
    return { ...scored, role, text: `${label} (${role}): ${compareWith(winner, scored)}` };
  });
}

/** Says what would change with `other`: `random read 20.3 ms instead of 21.1 ms, ..., stores 6% more`. */
function compareWith(winner: Scored, other: Scored): string {
  const [ours, theirs] = [winner.summary, other.summary].map(textsOf);
  const changes = Object.entries(theirs ?? {}).flatMap(([what, value]) => {
    const own = ours?.[what];
    return value === own ? [] : `${what} ${value} instead of ${own}`;
  });
  const stored = `stores ${formatChange(other.summary.storedBytes, winner.summary.storedBytes)}`;
  return [...changes, stored, `score ${formatScore(other.score)}`].join(', ');
}

function textsOf({ costs }: Summary): Readonly<Record<string, string>> {
  return {
    'random read': formatDuration(costs.read.ms),
    overwrite: formatDuration(costs.overwrite.ms),
    'sequential read': formatMsPerMiB(costs.sequentialReadMsPerMiB),
    'sequential write': formatMsPerMiB(costs.sequentialWriteMsPerMiB),
  };
}

/** Formats the time for one MiB as a throughput. */
export function formatMsPerMiB(msPerMiB: number): string {
  return msPerMiB === 0 ? 'at once' : formatThroughput((1024 * 1024 * 1000) / msPerMiB);
}

/** Formats the time for one MiB as a throughput in MB/s, without the unit. */
export function formatRate(msPerMiB: number): string {
  return msPerMiB === 0 ? 'at once' : formatNumber((1024 * 1024) / 1000 / msPerMiB);
}

/** Formats a score with two decimals. */
export function formatScore(value: number): string {
  return value.toFixed(2);
}

const DEFAULT_MISSING =
  'The default setting (256 KiB units, padme padding, zstd:1, xaes-256-gcm) was not in this sweep.';

function whyNotBestOf(winner: Scored, [best]: readonly Scored[], varying: Varying): string | undefined {
  if (best === undefined || best === winner) return undefined;
  const percent = (winner.score / best.score - 1) * 100;
  const distance = percent < 0.05 ? 'less than 0.1%' : `${percent.toFixed(1)}%`;
  return (
    `Not the best score: ${settingLabel(best.setting, varying)} has ${formatScore(best.score)}, this one ` +
    `${formatScore(winner.score)}, ${distance} worse. Scores within ${TOLERANCE * 100}% count as equal, because ` +
    `repeated measurements easily differ that much; of those, ${isDefault(winner.setting) ? 'this one is the default' : 'this one is the simplest'}.`
  );
}

function whyBestOf(winner: Scored, near: readonly Scored[]): string {
  const others =
    near.length > 1
      ? `${formatCount(near.length - 1, 'other setting')} within ${TOLERANCE * 100}% of it`
      : `no other setting within ${TOLERANCE * 100}% of it`;
  return `It has the best score, ${formatScore(winner.score)}, with ${others}.`;
}

function reasonsFor(winner: Scored, workload: Workload): string[] {
  const { costs, ratio, storedBytes } = winner.summary;
  const reasons = [
    storedBytes === 0
      ? 'All of it is holes: nothing is stored.'
      : `It stores ${formatSize(Math.round(storedBytes))}, ratio ${formatRatio(ratio)}.`,
  ];
  if (workload !== 'random') {
    reasons.push(
      `Long transfers over this link: reads at ${formatMsPerMiB(costs.sequentialReadMsPerMiB)}, ` +
        `writes at ${formatMsPerMiB(costs.sequentialWriteMsPerMiB)}.`,
    );
  }
  if (workload !== 'sequential') {
    reasons.push(
      `A cold random 4 KiB read costs ${formatDuration(costs.read.ms)} and fetches ${formatNumber(costs.read.amplification)} ` +
        `times its size; a 4 KiB overwrite costs ${formatDuration(costs.overwrite.ms)} and moves ` +
        `${formatNumber(costs.overwrite.amplification)} times its size.`,
    );
  }
  return reasons;
}

/** Formats a ratio: `2.31`, or `holes` when nothing is stored. */
export function formatRatio(ratio: number): string {
  return ratio === Infinity ? 'holes' : ratio.toFixed(2);
}
