/** `netseal verify`: checks whether a volume is whole, and names the files that damage affects. */
import { Command } from 'commander';
import { requireArgument } from '../../base/errors.ts';
import { type VerifyReport, verifyVolume } from '../../volume/care/verify.ts';
import type { Affected, Damage } from '../../volume/care/verify-damage.ts';
import { EXIT_DAMAGED } from '../lib/exit-codes.ts';
import { jsonDocument, nameFields } from '../lib/json.ts';
import { Lines, textToBytes } from '../lib/lines.ts';
import { printable } from '../lib/printable.ts';
import { startProgress } from '../lib/progress.ts';
import { formatCount, formatSize } from '../lib/sizes.ts';
import { valueOption } from '../lib/value-options.ts';
import { onWholeVolume } from './opening.ts';
import { type VolumeOptions, withVolumeOptions } from './options.ts';

interface VerifyOptions extends VolumeOptions {
  readonly sample?: number;
  readonly deep?: boolean;
}

const NOTES = `
All folders, inodes and lists of units are read and checked, and every segment
that they name must exist. The content of files is opened only with --deep, or
a random part of it with --sample.

Exit code 0: everything that was checked is whole; 3: something is damaged. Each
damaged object is named, with the files and bytes that are lost. Everything else
can still be read.`;

/** `netseal verify STORE` */
export function command(): Command {
  const verifyCommand = new Command('verify')
    .description('Look for damage in a volume.')
    .argument('<store>', 'a folder, or a URL')
    .addOption(valueOption('--sample <share>', 'open this share of the units, for example 5%', parseShare))
    .option('--deep', 'open all units')
    .addHelpText('after', NOTES);
  return withVolumeOptions(verifyCommand).action(verify);
}

/** Reads `5%` as a number above 0, up to 1. EINVAL for anything else. */
function parseShare(text: string, option: string): number {
  const match = /^(\d+(?:\.\d+)?|\.\d+)%$/.exec(text.trim());
  const share = Number(match?.[1] ?? Number.NaN) / 100;
  requireArgument(
    share > 0 && share <= 1,
    `${option}: cannot read "${text}"; write a share as 5%, up to 100%`,
  );
  return share;
}

function verify(text: string, options: VerifyOptions): Promise<void> {
  const { deep = false, sample, json = false } = options;
  // Threads only open units: without units to open, none are started.
  const workers = deep || sample !== undefined ? {} : { workers: 0 };
  return onWholeVolume('verify', text, { ...workers, ...options }, async ({ volume, signal, print }) => {
    const progress = startProgress({ label: 'verifying', noun: 'bytes' });
    const report = await verifyVolume(volume, {
      deep,
      sample,
      signal,
      onProgress: ({ doneBytes, totalBytes }) => progress.update(doneBytes, totalBytes),
    }).finally(() => progress.stop());
    await print(json ? jsonDocument(describe(report)) : tell(report));
    if (report.damages.length > 0) process.exitCode = EXIT_DAMAGED;
  });
}

function tell(report: VerifyReport): Buffer {
  const lines = new Lines(process.stdout.isTTY === true);
  const { damages, notes, unreferenced } = report;
  for (const damage of damages) addDamage(lines, damage);
  for (const note of notes) lines.add(textToBytes(`note: ${printable(note)}`));
  const what = [
    formatCount(report.folders, 'folder'),
    formatCount(report.files, 'file'),
    ...(report.symlinks > 0 ? [formatCount(report.symlinks, 'symlink')] : []),
    ...(report.specials > 0 ? [formatCount(report.specials, 'special file')] : []),
    formatSize(report.fileBytes),
  ].join(', ');
  const opened = `${report.openedUnits.toLocaleString('en-US')} of ${formatCount(report.units, 'unit')} opened`;
  lines.add(textToBytes(`checked: ${what}; ${opened}`));
  if (unreferenced.objects > 0) {
    const size = formatSize(unreferenced.bytes);
    lines.add(textToBytes(`not referred to: ${formatCount(unreferenced.objects, 'object')}, ${size}`));
  }
  lines.add(damages.length === 0 ? 'no damage found' : `damaged: ${formatCount(damages.length, 'object')}`);
  return lines.take();
}

function addDamage(lines: Lines, { key, what, error, affected }: Damage): void {
  lines.add(textToBytes(`damaged ${what}, ${key}: ${printable(error.message)} (${error.code})`));
  for (const item of affected) {
    for (const path of item.paths) lines.add(`  ${lines.name(path || '/')}${textToBytes(extentOf(item))}`);
  }
  if (affected.length === 0) lines.add('  no file is affected');
}

function extentOf({ type, bytes, names }: Affected): string {
  if (type === 'directory') return names === undefined ? ': all of this folder' : ': some of its names';
  if (bytes === undefined) return ': all of it';
  return `: bytes ${bytes.map(({ from, to }) => `${from} to ${to}`).join(', ')}`;
}

function describe({ damages, notes, ...report }: VerifyReport): Record<string, unknown> {
  return {
    ...report,
    notes: notes.map(message => ({ message })),
    damages: damages.map(({ key, what, error, affected }) => ({
      object: key,
      what,
      code: error.code,
      message: error.message,
      affected: affected.map(({ paths, type, bytes, names }) => ({
        paths: paths.map(path => nameFields('path', path || '/')),
        type,
        ...(bytes === undefined ? {} : { bytes }),
        ...(names === undefined
          ? {}
          : {
              names: names.map(({ from, to }) => ({
                ...nameFields('from', from),
                ...(to === undefined ? {} : nameFields('to', to)),
              })),
            }),
      })),
    })),
  };
}
