/** `netseal gc`: deletes what nothing refers to any more, and empties segments that are mostly garbage. */
import { Command, Option } from 'commander';
import { requireArgument } from '../../base/errors.ts';
import { type Amount, COPY_BYTES_MAX_DEFAULT, collectGarbage, type GcReport } from '../../volume/care/gc.ts';
import type { Lost } from '../../volume/care/walk.ts';
import { GRACE_MS_DEFAULT } from '../../volume/volume.ts';
import { formatTime, nameFields, toJson } from '../lib/display.ts';
import { EXIT_DAMAGED } from '../lib/exit-codes.ts';
import { withInterrupt } from '../lib/interrupt.ts';
import { printable } from '../lib/printable.ts';
import { type Progress, startProgress } from '../lib/progress.ts';
import { formatCount, formatSize, parseDuration, parseSize } from '../lib/sizes.ts';
import { writeOut } from '../lib/write-out.ts';
import { type VolumeOptions, withVolume, withVolumeOptions } from './access.ts';
import { parseLocation } from './location.ts';

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

Exit code 3: something is damaged; then nothing is deleted. See "netseal verify".`;
const DAMAGE_SHOWN = 20;

/** `netseal gc STORE` */
export function gcCommand(): Command {
  const command = new Command('gc')
    .description('Delete what no file or folder of a volume refers to any more.')
    .argument('<store>', 'a folder, or a file:// URL')
    .option('--dry-run', 'say what would be done, and change nothing')
    .addOption(
      new Option('--grace <time>', 'how long candidates wait: 24h')
        .argParser(text => parseDuration(text, '--grace'))
        .default(GRACE_MS_DEFAULT, '24h'),
    )
    .option('--no-compact', 'do not move what is left in segments that are mostly garbage')
    .addOption(
      new Option('--max-copy <size>', 'move at most so much')
        .argParser(text => parseSize(text, '--max-copy'))
        .default(COPY_BYTES_MAX_DEFAULT, '1GiB'),
    )
    .addHelpText('after', NOTES);
  return withVolumeOptions(command).action(gc);
}

function gc(text: string, options: GcOptions): Promise<void> {
  const location = parseLocation(text);
  requireArgument(location.path === undefined, `gc is for a whole volume: name only the store, not ${text}`);
  return withInterrupt(signal =>
    withVolume(location, { workers: 0, ...options }, signal, async ({ volume }) => {
      let progress: Progress | undefined;
      let phase = '';
      const report = await collectGarbage(volume, {
        dryRun: options.dryRun === true,
        graceMs: options.grace,
        compact: options.compact,
        copyBytesMax: options.maxCopy,
        signal,
        onProgress: now => {
          // Nobody knows how much there is to read.
          if (now.total === undefined) return;
          if (now.phase !== phase) progress?.stop();
          if (now.phase !== phase) progress = startProgress(PHASES[now.phase]);
          phase = now.phase;
          progress?.update(now.done, now.total);
        },
      }).finally(() => progress?.stop());
      const isDamaged = report.lost.length + report.missingSegments.length > 0;
      if (options.json === true) await writeOut(`${toJson(describe(report), 2)}\n`, signal);
      // What was counted before the damage was met says nothing.
      else if (!isDamaged) await writeOut(tell(report, options), signal);
      if (!isDamaged) return;
      process.stderr.write(damageText(report));
      process.exitCode = EXIT_DAMAGED;
    }),
  );
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
    const when = `${dryRun ? 'at the earliest by a pass after' : 'by a pass after'} ${minute(waiting.firstDueMs)}`;
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

/** UTC, as the server has it. */
function minute(timeMs: number): string {
  // The next whole minute: not before it.
  const date = new Date(Math.ceil(timeMs / 60_000) * 60_000);
  return `${date.toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}

function damageText({ lost, missingSegments }: GcReport): string {
  const lines = [
    ...lost.map(({ place, error }) => `/${place.path.slice(1)}: ${error.message} (${error.code})`),
    ...missingSegments.map(id => `segment ${id} is not there (EMISSING)`),
  ];
  const shown = lines.slice(0, DAMAGE_SHOWN).map(line => `netseal: ${printable(line)}\n`);
  if (lines.length > DAMAGE_SHOWN) shown.push(`netseal: and ${lines.length - DAMAGE_SHOWN} more\n`);
  return `${shown.join('')}netseal: nothing was deleted, as not all could be read; see "netseal verify"\n`;
}

function describe(report: GcReport): Record<string, unknown> {
  const { live, deleted, deletable, waiting, held, lost, missingSegments, compaction, startedAtMs } = report;
  const { firstDueMs, lastDueMs, ...waits } = waiting;
  return {
    startedAt: time(startedAtMs),
    live,
    deleted,
    deletable,
    waiting: { ...waits, firstDue: time(firstDueMs), lastDue: time(lastDueMs) },
    held,
    ...(compaction === undefined ? {} : { compaction }),
    damages: lost.map(describeLost),
    missingSegments,
  };
}

function time(timeMs: number | undefined): string | null {
  return timeMs === undefined ? null : formatTime(BigInt(Math.trunc(timeMs)) * 1_000_000n);
}

function describeLost({ key, place, error }: Lost): Record<string, unknown> {
  return { object: key, ...nameFields('path', place.path || '/'), code: error.code, message: error.message };
}
