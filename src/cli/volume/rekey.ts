/**
 * `netseal rekey`: gives a volume a new key, seals everything anew under it, and drops the old keys. Only the
 * slots whose secrets are given stay.
 */
import { Command } from 'commander';
import { requireArgument } from '../../base/errors.ts';
import type { Secret } from '../../keys/secret.ts';
import type { SlotInfo, VolumeHeader } from '../../keys/volume-header.ts';
import { type ResealCounts, type ResealReport, resealVolume } from '../../volume/care/reseal.ts';
import { changeHeaderObject } from '../../volume/header-object.ts';
import { confirm } from '../lib/confirm.ts';
import { EXIT_FAILED } from '../lib/exit-codes.ts';
import { type Frame, inFrame } from '../lib/frame.ts';
import { jsonDocument } from '../lib/json.ts';
import { note, warn } from '../lib/notes.ts';
import { type Progress, startProgress } from '../lib/progress.ts';
import { readFileSecret } from '../lib/secrets.ts';
import { formatCount, formatSize } from '../lib/sizes.ts';
import { parseStore } from './location.ts';
import { type StoreAccess, withStore, withVolumeIn } from './opening.ts';
import { type VolumeOptions, withVolumeOptions } from './options.ts';

interface RekeyOptions extends VolumeOptions {
  readonly keepKeyFile: readonly string[];
  readonly keepPassphraseFile: readonly string[];
  readonly reseal: boolean;
  readonly resume?: boolean;
  readonly yes?: boolean;
}

const NOTES = `
Every secret that is not given loses its slot: give those that stay with --keep-...
Others may go on working. A command that was begun before ends with exit code 4 as
soon as it needs what was sealed anew; begin it again.

It may be interrupted: "netseal rekey --resume" goes on, without another key.

What lay in the store before stays there until gc deletes it: run "netseal gc" now
and again after 24h. Whoever knows an old secret and has copied the store, or its
header and what was not sealed anew yet, can still read that copy.

Exit code 1: some of the old keys are still needed, and what for was said.`;

/** `netseal rekey STORE` */
export function command(): Command {
  const rekeyCommand = new Command('rekey')
    .description('Change the key of a volume, and seal everything anew.')
    .argument('<store>', 'a folder, or a URL')
    .option('--keep-key-file <file>', 'the slot of this key file stays; may be given again', collect, [])
    .option(
      '--keep-passphrase-file <file>',
      'the slot of the passphrase in the first line of this file stays; may be given again',
      collect,
      [],
    )
    .option('--no-reseal', 'only change the key: seal nothing anew, and drop no old key')
    .option('--resume', 'change no key: go on sealing anew, and drop the old keys')
    .option('-y, --yes', 'do not ask before slots are removed')
    .addHelpText('after', NOTES);
  return withVolumeOptions(rekeyCommand).action(rekey);
}

function collect(value: string, previous: readonly string[]): readonly string[] {
  return [...previous, value];
}

/** What a rekey has done so far. */
interface Rekeyed {
  readonly epoch: number;
  readonly slots: readonly SlotInfo[];
  readonly removed: readonly SlotInfo[];
}

function rekey(text: string, options: RekeyOptions): Promise<void> {
  const location = parseStore(text, 'rekey');
  const { resume = false, reseal, keepKeyFile, keepPassphraseFile } = options;
  requireArgument(!resume || reseal, '--resume is for sealing anew: leave out --no-reseal');
  requireArgument(
    !resume || keepKeyFile.length + keepPassphraseFile.length === 0,
    '--resume changes no slot: leave out --keep-key-file and --keep-passphrase-file',
  );
  return inFrame(frame =>
    withStore(location, options, frame.signal, async given => {
      let secret: Promise<Secret> | undefined;
      const secrets = (): Promise<Secret> => {
        secret ??= given.secrets();
        return secret;
      };
      const access: StoreAccess = { ...given, secrets: secrets as StoreAccess['secrets'] };
      const rekeyed = resume ? undefined : await changeKey(access, options, frame);
      const report = reseal ? await sealAnew(access, options, frame) : undefined;
      const header = report === undefined ? undefined : await dropEpochs(access, report, frame);
      tell({ rekeyed, report, header }, options, frame);
      header?.keyring.destroy();
      if (report !== undefined && isAnyLeft(report.left)) process.exitCode = EXIT_FAILED;
    }),
  );
}

/** Makes the new epoch. Asks before slots go. */
async function changeKey(
  { store, state, secrets }: StoreAccess,
  { keepKeyFile, keepPassphraseFile, yes }: RekeyOptions,
  { signal }: Frame,
): Promise<Rekeyed> {
  const kept: Secret[] = [];
  for (const path of keepKeyFile)
    kept.push(await readFileSecret('--keep-key-file', 'key-file', path, signal));
  for (const path of keepPassphraseFile) {
    kept.push(await readFileSecret('--keep-passphrase-file', 'passphrase-file', path, signal));
  }
  let removed: readonly SlotInfo[] = [];
  let isSure = yes === true;
  const change = async (header: VolumeHeader): Promise<VolumeHeader> => {
    const next = await header.rekey([await secrets(), ...kept]);
    removed = header.slots.filter(({ id }) => next.slots.every(slot => slot.id !== id));
    if (removed.length > 0 && !isSure) {
      for (const slot of removed) process.stderr.write(`${shown(slot)}\n`);
      await confirm(`Remove ${formatCount(removed.length, 'slot')}, whose secrets were not given?`, signal);
      isSure = true;
    }
    signal.throwIfAborted();
    return next;
  };
  const header = await changeHeaderObject(store, secrets, state, change, { signal });
  header.keyring.destroy();
  return { epoch: header.epoch, slots: header.slots, removed };
}

async function sealAnew(
  access: StoreAccess,
  options: RekeyOptions,
  { signal }: Frame,
): Promise<ResealReport> {
  return await withVolumeIn(access, options, signal, async ({ volume }) => {
    let progress: Progress | undefined;
    return await resealVolume(volume, {
      signal,
      onProgress: (done, total) => {
        // While the total is not known, there is nothing to show.
        if (total === undefined) return;
        progress ??= startProgress({ label: 'sealing', noun: 'bytes' });
        progress.update(done, total);
      },
    }).finally(() => progress?.stop());
  });
}

/**
 * Drops the keys of epochs under which nothing is sealed. The caller destroys the header's keyring.
 */
async function dropEpochs(
  { store, state, secrets }: StoreAccess,
  { freeEpochs }: ResealReport,
  { signal }: Frame,
): Promise<VolumeHeader> {
  const change = (header: VolumeHeader): VolumeHeader => {
    const free = freeEpochs.filter(epoch => header.keyring.epochs.includes(epoch));
    return free.length === 0 ? header : header.dropEpochs(free);
  };
  return await changeHeaderObject(store, secrets, state, change, { signal });
}

interface Outcome {
  readonly rekeyed: Rekeyed | undefined;
  readonly report: ResealReport | undefined;
  readonly header: VolumeHeader | undefined;
}

function tell(outcome: Outcome, { json }: RekeyOptions, { report: print }: Frame): void {
  const { report } = outcome;
  const left = report === undefined || !isAnyLeft(report.left) ? undefined : amounts(report.left);
  const why = `${left} could not be sealed anew, so their keys stay; "netseal rekey --resume" tries again`;
  if (json === true && left !== undefined) warn(why);
  print(json === true ? jsonDocument(describe(outcome)) : lines(outcome));
  if (json !== true && left !== undefined) warn(why);
  if (report === undefined) {
    note('nothing was sealed anew: "netseal rekey --resume" does that, and drops the old keys');
  }
}

function describe({ rekeyed, report, header }: Outcome): Record<string, unknown> {
  const changed =
    rekeyed === undefined
      ? {}
      : {
          epoch: rekeyed.epoch,
          slots: rekeyed.slots.map(describeSlot),
          removed: rekeyed.removed.map(describeSlot),
        };
  if (report === undefined) return changed;
  const { resealed, movedBytes, writtenBytes, left, freeEpochs: dropped } = report;
  return { ...changed, resealed, movedBytes, writtenBytes, left, dropped, epochs: header?.keyring.epochs };
}

function lines({ rekeyed, report }: Outcome): string {
  const lines: string[] = [];
  if (rekeyed !== undefined) {
    lines.push(`the volume has a new key, epoch ${rekeyed.epoch}`);
    for (const slot of rekeyed.slots) lines.push(`opened by ${shown(slot)}`);
    for (const slot of rekeyed.removed) lines.push(`no longer ${shown(slot)}`);
  }
  if (report !== undefined) {
    lines.push(`sealed anew: ${formatSize(report.movedBytes)}; ${amounts(report.resealed) || 'nothing'}`);
    if (report.freeEpochs.length > 0) lines.push(`dropped the keys of epoch ${report.freeEpochs.join(', ')}`);
  }
  return `${lines.join('\n')}\n`;
}

function shown({ id, type, label }: SlotInfo): string {
  return `${id}, ${type}, "${label}"`;
}

function describeSlot({ id, type, label }: SlotInfo): Record<string, string> {
  return { id, type, label };
}

function isAnyLeft({ segments, inodes, heads, lists }: ResealCounts): boolean {
  return segments + inodes + heads + lists > 0;
}

function amounts({ segments, inodes, heads, lists }: ResealCounts): string {
  const parts: readonly (readonly [number, string])[] = [
    [segments, 'segment'],
    [inodes, 'inode'],
    [heads, 'head'],
    [lists, 'gc note'],
  ];
  return parts.flatMap(([count, noun]) => (count === 0 ? [] : [formatCount(count, noun)])).join(', ');
}
