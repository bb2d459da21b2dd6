/**
 * `netseal gc`: deletes objects that nothing refers to any more, and empties segments that are mostly
 * garbage.
 */
import { Command } from 'commander';
import { NetsealError } from '../../base/errors.ts';
import { type Amount, COPY_BYTES_MAX_DEFAULT, collectGarbage, type GcReport } from '../../volume/care/gc.ts';
import { CLOCKS_APART_MS_MAX } from '../../volume/care/gc-clocks.ts';
import type { Lost } from '../../volume/care/walk.ts';
import { GRACE_MS_DEFAULT } from '../../volume/volume-options.ts';
import { EXIT_DAMAGED, exitCodeOf } from '../lib/exit-codes.ts';
import { jsonDocument, nameFields } from '../lib/json.ts';
import { note, warn } from '../lib/notes.ts';
import { type Progress, startProgress } from '../lib/progress.ts';
import { reportError } from '../lib/report.ts';
import { formatCount, formatSize } from '../lib/sizes.ts';
import { formatTimeMs, formatUtcMinute } from '../lib/times.ts';
import { durationOption, sizeOption } from '../lib/value-options.ts';
import { onWholeVolume } from './opening.ts';
import { type VolumeOptions, withVolumeOptions } from './options.ts';

interface GcOptions extends VolumeOptions {
  readonly dryRun?: boolean;
  readonly grace: number;
  readonly compact: boolean;
  readonly maxCopy: number;
}

const NOTES = `
Objects that nothing refers to become candidates. A later pass deletes them, once
they have been candidates for the grace period: so the first pass deletes nothing.
Clients may go on working. A grace shorter than 24h is safe only while nobody writes.

This machine's clock and the store's must agree to the hour.

Exit code 3: something is damaged; then nothing is deleted. See "netseal verify".
Exit code 6: some objects could not be deleted, and were named; the others were.`;
const NOTHING_DELETED = 'nothing was deleted, as not all could be read; see "netseal verify"';
const DAMAGE_SHOWN = 20;
const FAILURES_SHOWN = 20;

/** `netseal gc STORE` */
export function command(): Command {
  const gcCommand = new Command('gc')
    .description('Delete what no file or folder of a volume refers to any more.')
    .argument('<store>', 'a folder, or a URL')
    .option('--dry-run', 'show what would be done, and change nothing')
    .addOption(
      durationOption('--grace <time>', 'how long candidates wait before they are deleted').default(
        GRACE_MS_DEFAULT,
        '24h',
      ),
    )
    .option('--no-compact', 'leave segments that are mostly garbage as they are')
    .addOption(
      sizeOption('--max-copy <size>', 'move at most so much out of segments').default(
        COPY_BYTES_MAX_DEFAULT,
        '1GiB',
      ),
    )
    .addHelpText('after', NOTES);
  return withVolumeOptions(gcCommand).action(gc);
}

function gc(text: string, options: GcOptions): Promise<void> {
  return onWholeVolume('gc', text, { workers: 0, ...options }, async ({ volume, signal, print }) => {
    let progress: Progress | undefined;
    let phase = '';
    const report = await collectGarbage(volume, {
      dryRun: options.dryRun === true,
      graceMs: options.grace,
      compact: options.compact,
      copyBytesMax: options.maxCopy,
      signal,
      onProgress: now => {
        // While the total is not known, there is nothing to show.
        if (now.total === undefined) return;
        if (now.phase !== phase) progress?.stop();
        if (now.phase !== phase) progress = startProgress(PHASES[now.phase]);
        phase = now.phase;
        progress?.update(now.done, now.total);
      },
    }).finally(() => progress?.stop());
    noteClocks(report);
    const isDamaged = report.lost.length + report.missingSegments.length > 0;
    const json = options.json === true;
    if (isDamaged && json) warn(NOTHING_DELETED);
    if (json) await print(jsonDocument(describe(report)));
    // With damage, the counts are not of the whole volume: only JSON shows them.
    else if (!isDamaged) await print(tell(report, options));
    // The document lists both.
    if (!json) tellFailures(report);
    if (isDamaged && !json) tellDamage(report);
    const [failure] = report.failures;
    if (failure !== undefined) process.exitCode = exitCodeOf(failure.error);
    if (isDamaged) process.exitCode = EXIT_DAMAGED;
  });
}

/** Warns when a clock is or was wrong, and says what that means for this pass. */
function noteClocks({ beginsAnew, storeAheadMs }: GcReport): void {
  if (Math.abs(storeAheadMs) > CLOCKS_APART_MS_MAX) {
    const which = storeAheadMs > 0 ? 'behind' : 'ahead of';
    note(
      `this machine's clock is ${formatDuration(Math.abs(storeAheadMs))} ${which} the store's: gc without --dry-run refuses until they agree`,
    );
  }
  if (beginsAnew) {
    note(
      'an earlier gc ran under a clock that was ahead: what it noted does not count, and the grace of all candidates begins anew',
    );
  }
}

/** Lists what could not be deleted. */
function tellFailures({ failures }: GcReport): void {
  for (const { key, error } of failures.slice(0, FAILURES_SHOWN)) {
    reportError(new NetsealError(error.code, `${key} could not be deleted: ${error.message}`));
  }
  const more = failures.length - FAILURES_SHOWN;
  if (more > 0) warn(`and ${more} more`);
}

function formatDuration(ms: number): string {
  const hours = ms / 3_600_000;
  return hours < 48 ? `${Math.round(hours)} h` : `${Math.round(hours / 24)} days`;
}

const PHASES = {
  reading: { label: 'reading', noun: 'object' },
  deleting: { label: 'deleting', noun: 'object' },
  compacting: { label: 'moving', noun: 'bytes' },
} as const;

function tell(report: GcReport, { dryRun = false }: GcOptions): string {
  const { live, deleted, deletable, waiting, held, compaction } = report;
  const lines = [`in use: ${amount(live)}`];
  if (deleted.objects > 0) lines.push(`deleted: ${amount(deleted)}`);
  if (deletable.objects > 0)
    lines.push(`${dryRun ? 'would be deleted' : 'not deleted'}: ${amount(deletable)}`);
  if (held.objects > 0) lines.push(`kept for files that are open somewhere: ${amount(held)}`);
  if (waiting.firstDueMs !== undefined) {
    const when = `${dryRun ? 'at the earliest by a pass after' : 'by a pass after'} ${dueMinute(waiting.firstDueMs)}`;
    lines.push(`candidates that wait: ${amount(waiting)}; can be deleted ${when}`);
  }
  if (deleted.objects + deletable.objects + waiting.objects + held.objects === 0) lines.push('no garbage');
  if (compaction !== undefined && compaction.segments > 0) {
    const from = `${formatSize(compaction.movedBytes)} out of ${formatCount(compaction.segments, 'segment')}`;
    lines.push(`moved ${from}, which become garbage: ${formatSize(compaction.freedBytes)}`);
  }
  if (compaction !== undefined && compaction.left > 0) {
    lines.push(`left for the next pass: ${formatCount(compaction.left, 'segment')} that are mostly garbage`);
  }
  return `${lines.join('\n')}\n`;
}

function amount({ objects, bytes }: Amount): string {
  return `${formatCount(objects, 'object')}, ${formatSize(bytes)}`;
}

/** Formats a time as UTC, rounded up to a whole minute, so that it has come when that minute begins. */
function dueMinute(timeMs: number): string {
  return `${formatUtcMinute(Math.ceil(timeMs / 60_000) * 60_000)} UTC`;
}

function tellDamage({ lost, missingSegments }: GcReport): void {
  const lines = [
    ...lost.map(({ place, error }) => `/${place.path.slice(1)}: ${error.message} (${error.code})`),
    ...missingSegments.map(id => `segment ${id} is not there (EMISSING)`),
  ];
  for (const line of lines.slice(0, DAMAGE_SHOWN)) warn(line);
  if (lines.length > DAMAGE_SHOWN) warn(`and ${lines.length - DAMAGE_SHOWN} more`);
  warn(NOTHING_DELETED);
}

function describe(report: GcReport): Record<string, unknown> {
  const { live, deleted, deletable, waiting, held, lost, missingSegments, compaction, startedAtMs } = report;
  const { beginsAnew, storeAheadMs, failures } = report;
  const { firstDueMs, lastDueMs, ...waits } = waiting;
  return {
    startedAt: formatTimeMs(startedAtMs),
    live,
    deleted,
    deletable,
    waiting: { ...waits, firstDue: formatTimeMs(firstDueMs), lastDue: formatTimeMs(lastDueMs) },
    held,
    ...(compaction === undefined ? {} : { compaction }),
    beginsAnew,
    storeAheadMs: storeAheadMs,
    failures: failures.map(({ key, error: { code, message } }) => ({ object: key, code, message })),
    damages: lost.map(describeLost),
    missingSegments,
  };
}

function describeLost({ key, place, error }: Lost): Record<string, unknown> {
  return { object: key, ...nameFields('path', place.path || '/'), code: error.code, message: error.message };
}
