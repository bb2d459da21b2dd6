/**
 * The frame of `netseal put` and `netseal get`: opens the volume, shows progress, and reports what was
 * copied.
 */
import type { Command } from 'commander';
import { showName } from '../../transfer/local-names.ts';
import type { Amount } from '../../transfer/measure.ts';
import { Tally, type Trouble } from '../../transfer/tally.ts';
import { EXIT_DAMAGED, exitCodeOf } from '../lib/exit-codes.ts';
import { jsonDocument, nameFields } from '../lib/json.ts';
import { loadTransfer } from '../lib/lazy.ts';
import { printable } from '../lib/printable.ts';
import { type Progress, startProgress } from '../lib/progress.ts';
import { formatCount, formatSize, formatThroughput } from '../lib/sizes.ts';
import { onPaths, type PathFrame } from './each-path.ts';
import { type PathOptions, type VolumePath, withPathOptions } from './paths.ts';

export interface CopyOptions extends PathOptions {
  readonly recursive?: boolean;
}

/** What a copy does once the volume is open. */
export interface CopyFrame extends PathFrame {
  readonly transfer: Awaited<ReturnType<typeof loadTransfer>>;
  /** Counts what was copied, and keeps the failures. */
  readonly tally: Tally;
  /** Whether progress is shown: only then is it worth measuring beforehand how much there is to copy. */
  readonly showsProgress: boolean;
  /** Adds to the amount that progress is measured against. */
  expect(amount: Amount): void;
}

/** Adds the options of {@link CopyOptions}. */
export function withCopyOptions(command: Command): Command {
  return withPathOptions(command.option('-r, --recursive', 'copy folders with everything in them'));
}

/**
 * Opens the volume of `paths` and runs `copy`. Then reports what was copied, also after a failure or an
 * interruption.
 *
 * @param did the past tense of the command, for the report.
 */
export function copyFrame(
  paths: readonly VolumePath[],
  options: CopyOptions,
  { label, did }: { readonly label: string; readonly did: string },
  copy: (frame: CopyFrame) => Promise<void>,
): Promise<void> {
  let loading: ReturnType<typeof loadTransfer> | undefined;
  const copying = onPaths(paths, options, async frame => {
    const transfer = await (loading ?? loadTransfer());
    const bar = new CopyProgress(label);
    const tally = new Tally({ onProgress: bar.report });
    const startedMs = performance.now();
    let isDone = false;
    try {
      await copy({
        ...frame,
        transfer,
        tally,
        showsProgress: bar.isShown,
        expect: amount => bar.add(amount),
      });
      isDone = true;
    } finally {
      bar.stop();
      const elapsedMs = performance.now() - startedMs;
      report(tally, { did, isDone, elapsedMs, missing: transfer.nativeReport().missing }, options);
    }
  });
  // Loaded while the volume is being opened, but after what starts the threads.
  loading = loadTransfer();
  loading.catch(() => undefined);
  return copying;
}

/** The progress of a copy, in bytes. */
class CopyProgress {
  readonly #progress: Progress;
  readonly isShown: boolean = process.stderr.isTTY === true;
  #totalBytes = 0;

  constructor(label: string) {
    this.#progress = startProgress({ label, noun: 'bytes' });
  }

  add({ bytes }: Amount): void {
    this.#totalBytes += bytes;
  }

  readonly report = ({ bytes }: { readonly bytes: number }): void => {
    if (this.isShown) this.#progress.update(bytes, Math.max(bytes, this.#totalBytes));
  };

  stop(): void {
    this.#progress.stop();
  }
}

interface Ended {
  readonly did: string;
  readonly isDone: boolean;
  readonly elapsedMs: number;
  /** The features that this machine lacks. */
  readonly missing: readonly string[];
}

/** Writes what was done, also when the copy ended early. Sets the exit code when something failed. */
function report(tally: Tally, { did, isDone, elapsedMs, missing }: Ended, options: CopyOptions): void {
  const { counts, failures, notes } = tally;
  if (options.json === true) {
    const document = {
      ...counts,
      elapsedMs: Math.round(elapsedMs),
      failures: failures.map(toFields),
      notes: notes.map(toFields),
    };
    process.stdout.write(jsonDocument(document));
  } else {
    // When nothing was done at all, the error that follows says everything.
    if (!isDone && isNothing(tally)) return;
    process.stderr.write(`${summary(tally, did, elapsedMs)}\n`);
    list(notes, ({ path, error }) => `note: ${showName(path)}: ${printable(error.message)}`);
    list(failures, ({ path, error }) => `${showName(path)}: ${printable(error.message)} (${error.code})`);
    for (const what of missing) process.stderr.write(`netseal: note: this machine lacks ${what}\n`);
  }
  const codes = failures.map(({ error }) => exitCodeOf(error));
  // Damage matters more than any other failure.
  const code = codes.includes(EXIT_DAMAGED) ? EXIT_DAMAGED : codes[0];
  if (code !== undefined) process.exitCode = code;
}

/** Of fewer bytes, a rate tells how long a command takes to start. */
const RATED_BYTES_MIN = 1e6;

/** More lines than this nobody reads. `--json` has all of them. */
const SHOWN_MAX = 100;

function list(troubles: readonly Trouble[], line: (trouble: Trouble) => string): void {
  for (const trouble of troubles.slice(0, SHOWN_MAX)) process.stderr.write(`netseal: ${line(trouble)}\n`);
  const more = troubles.length - SHOWN_MAX;
  if (more > 0) process.stderr.write(`netseal: and ${more.toLocaleString('en-US')} more like these\n`);
}

function isNothing({ counts, failures, notes }: Tally): boolean {
  return failures.length === 0 && notes.length === 0 && Object.values(counts).every(count => count === 0);
}

function summary({ counts, failures }: Tally, did: string, elapsedMs: number): string {
  const { files, folders, symlinks, links, unchanged, bytes } = counts;
  const parts = [
    `${did} ${formatCount(files, 'file')} (${formatSize(bytes)})`,
    ...(folders > 0 ? [formatCount(folders, 'folder')] : []),
    ...(symlinks > 0 ? [formatCount(symlinks, 'symlink')] : []),
    ...(links > 0 ? [formatCount(links, 'link')] : []),
    ...(unchanged > 0 ? [`${unchanged.toLocaleString('en-US')} unchanged`] : []),
    ...(failures.length > 0 ? [`${failures.length.toLocaleString('en-US')} failed`] : []),
  ];
  const seconds = elapsedMs / 1000;
  // The size says all there is to say of what took no time.
  const rate = bytes < RATED_BYTES_MIN ? '' : `, ${formatThroughput(bytes / seconds)}`;
  return `${parts.join(', ')} in ${seconds.toFixed(1)} s${rate}`;
}

function toFields({ path, error }: Trouble): Record<string, string> {
  return { ...nameFields('path', path), code: error.code, message: error.message };
}
