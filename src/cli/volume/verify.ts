/** `netseal verify`: is all of a volume there, and what does it concern if not? */
import { Command, Option } from 'commander';
import { requireArgument } from '../../base/errors.ts';
import { type VerifyReport, verifyVolume } from '../../volume/care/verify.ts';
import type { Affected, Damage } from '../../volume/care/verify-damage.ts';
import { Lines, nameFields, toJson } from '../lib/display.ts';
import { EXIT_DAMAGED } from '../lib/exit-codes.ts';
import { withInterrupt } from '../lib/interrupt.ts';
import { printable } from '../lib/printable.ts';
import { startProgress } from '../lib/progress.ts';
import { formatCount, formatSize } from '../lib/sizes.ts';
import { writeOut } from '../lib/write-out.ts';
import { type VolumeOptions, withVolume, withVolumeOptions } from './access.ts';
import { parseLocation } from './location.ts';

interface VerifyOptions extends VolumeOptions {
  readonly sample?: number;
  readonly deep?: boolean;
}

const NOTES = `
All folders, inodes and lists of units are read and checked, and that the
segments they name are there. The content of files is opened only with --deep,
or a part of it chosen at random with --sample.

Exit code 0: all that was checked is whole; 3: something is damaged. Each
damaged object is named with the files and the bytes of them that are lost; all
others can still be read.`;

/** `netseal verify STORE` */
export function verifyCommand(): Command {
  const command = new Command('verify')
    .description('Look for damage in a volume.')
    .argument('<store>', 'a folder, or a file:// URL')
    .addOption(new Option('--sample <share>', 'open so many of the units: 5%').argParser(parseShare))
    .option('--deep', 'open all of them')
    .addHelpText('after', NOTES);
  return withVolumeOptions(command).action(verify);
}

/** `5%`: a number above 0, up to 1. */
function parseShare(text: string): number {
  const match = /^(\d+(?:\.\d+)?|\.\d+)%$/.exec(text.trim());
  const share = Number(match?.[1] ?? Number.NaN) / 100;
  requireArgument(
    share > 0 && share <= 1,
    `--sample: cannot read "${text}"; write a share as 5%, up to 100%`,
  );
  return share;
}

function verify(text: string, options: VerifyOptions): Promise<void> {
  const location = parseLocation(text);
  requireArgument(
    location.path === undefined,
    `verify is for a whole volume: name only the store, not ${text}`,
  );
  const { deep = false, sample } = options;
  // Nothing but units is worth threads.
  const workers = deep || sample !== undefined ? {} : { workers: 0 };
  return withInterrupt(signal =>
    withVolume(location, { ...workers, ...options }, signal, async ({ volume }) => {
      const progress = startProgress({ label: 'verifying', noun: 'bytes' });
      const report = await verifyVolume(volume, {
        deep,
        sample,
        signal,
        onProgress: ({ doneBytes, totalBytes }) => progress.update(doneBytes, totalBytes),
      }).finally(() => progress.stop());
      await writeOut(options.json === true ? `${toJson(describe(report), 2)}\n` : tell(report), signal);
      if (report.damages.length > 0) process.exitCode = EXIT_DAMAGED;
    }),
  );
}

function tell(report: VerifyReport): Buffer {
  const lines = new Lines(process.stdout.isTTY === true);
  const { damages, notes, unreferenced } = report;
  for (const damage of damages) addDamage(lines, damage);
  for (const note of notes) lines.add(bytesOf(`note: ${printable(note)}`));
  const what = [
    formatCount(report.folders, 'folder'),
    formatCount(report.files, 'file'),
    ...(report.symlinks > 0 ? [formatCount(report.symlinks, 'symlink')] : []),
    formatSize(report.fileBytes),
  ].join(', ');
  const opened = `${report.openedUnits.toLocaleString('en-US')} of ${formatCount(report.units, 'unit')} opened`;
  lines.add(bytesOf(`checked: ${what}; ${opened}`));
  if (unreferenced.objects > 0) {
    const size = formatSize(unreferenced.bytes);
    lines.add(bytesOf(`not referred to: ${formatCount(unreferenced.objects, 'object')}, ${size}`));
  }
  lines.add(damages.length === 0 ? 'no damage found' : `damaged: ${formatCount(damages.length, 'object')}`);
  return lines.take();
}

function addDamage(lines: Lines, { key, what, error, affected }: Damage): void {
  lines.add(bytesOf(`damaged ${what}, ${key}: ${printable(error.message)} (${error.code})`));
  for (const item of affected) {
    for (const path of item.paths) lines.add(`  ${lines.name(path || '/')}${bytesOf(extentOf(item))}`);
  }
  if (affected.length === 0) lines.add('  no file is affected');
}

function extentOf({ type, bytes, names }: Affected): string {
  if (type === 'directory') return names === undefined ? ': all of this folder' : ': some of its names';
  if (bytes === undefined) return ': all of it';
  return `: bytes ${bytes.map(({ from, to }) => `${from} to ${to}`).join(', ')}`;
}

/** Text among names, which are bytes. */
function bytesOf(text: string): string {
  return Buffer.from(text).toString('latin1');
}

function describe({ damages, ...report }: VerifyReport): Record<string, unknown> {
  return {
    ...report,
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
