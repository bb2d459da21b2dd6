/** `netseal put` and `netseal get`. */
import { Command } from 'commander';
import { requireArgument } from '../../base/errors.ts';
import { showName } from '../../transfer/local-names.ts';
import type { Amount } from '../../transfer/measure.ts';
import { Tally, type Trouble } from '../../transfer/tally.ts';
import { nameFields, toJson } from '../lib/display.ts';
import { EXIT_DAMAGED, exitCodeOf } from '../lib/exit-codes.ts';
import { withInterrupt } from '../lib/interrupt.ts';
import { printable } from '../lib/printable.ts';
import { type Progress, startProgress } from '../lib/progress.ts';
import { formatCount, formatSize, formatThroughput } from '../lib/sizes.ts';
import { type PathOptions, parseVolumePath, pathBytes, withPathOptions, withVolumePaths } from './paths.ts';

interface CopyOptions extends PathOptions {
  readonly recursive?: boolean;
  readonly owner?: boolean;
}

/** `netseal put [-r] LOCAL... STORE:/path` */
export function putCommand(): Command {
  const command = new Command('put')
    .description(
      'Copy files, and with -r whole folders, into a volume. What is there and unchanged is skipped, so repeating goes on where an interruption ended.',
    )
    .argument(
      '<path...>',
      'local files and folders, then STORE:/path; a path that ends in / is a folder to put them into',
    )
    .option('-r, --recursive', 'folders with all that is in them');
  return withPathOptions(command).action(runPut);
}

/** `netseal get [-r] STORE:/path... LOCAL` */
export function getCommand(): Command {
  const command = new Command('get')
    .description(
      'Copy files, and with -r whole folders, out of a volume. What is there and unchanged is skipped. Nothing is written outside the target.',
    )
    .argument(
      '<path...>',
      'STORE:/path, one or more, then a local path; one that ends in / is a folder to put them into',
    )
    .option('-r, --recursive', 'folders with all that is in them')
    .option('--owner', 'restore owners too, and what depends on them (as root)');
  return withPathOptions(command).action(runGet);
}

async function runPut(paths: readonly string[], options: CopyOptions): Promise<void> {
  const sources = paths.slice(0, -1);
  const last = paths.at(-1) ?? '';
  requireArgument(sources.length > 0, 'name local files or folders, then where to put them, as STORE:/path');
  const target = parseVolumePath(last, options);
  await withInterrupt(async signal => {
    const copying = withVolumePaths([target], options, signal, async ({ volume, state }) => {
      const { put, measureLocal, nativeReport } = await loading;
      const bar = new CopyProgress('putting');
      const tally = new Tally(bar.report);
      const startedMs = performance.now();
      let isDone = false;
      try {
        if (bar.isShown) bar.total = await measureLocal(sources, signal);
        const { recursive } = options;
        await put(volume, sources, pathBytes(target), tally, { recursive, state, signal });
        await volume.sync();
        isDone = true;
      } finally {
        bar.stop();
        const elapsedMs = performance.now() - startedMs;
        report(tally, { did: 'put', isDone, elapsedMs, missing: nativeReport().missing }, options);
      }
    });
    const loading = loadCopying();
    await copying;
  });
}

async function runGet(paths: readonly string[], options: CopyOptions): Promise<void> {
  const local = paths.at(-1) ?? '';
  requireArgument(paths.length > 1, 'name paths as STORE:/path, then where to put them');
  const sources = paths.slice(0, -1).map(text => parseVolumePath(text, options));
  await withInterrupt(async signal => {
    const copying = withVolumePaths(sources, options, signal, async ({ volume }) => {
      const { get, measureVolume, nativeReport } = await loading;
      const bar = new CopyProgress('getting');
      const tally = new Tally(bar.report);
      const startedMs = performance.now();
      let isDone = false;
      try {
        if (bar.isShown) {
          for (const source of sources) {
            const { inode } = await volume.find(pathBytes(source), { follow: true });
            bar.add(await measureVolume(volume, inode, signal));
          }
        }
        const { recursive, owner } = options;
        await get(volume, sources.map(pathBytes), local, tally, { recursive, owner, signal });
        isDone = true;
      } finally {
        bar.stop();
        const elapsedMs = performance.now() - startedMs;
        report(tally, { did: 'got', isDone, elapsedMs, missing: nativeReport().missing }, options);
      }
    });
    const loading = loadCopying();
    await copying;
  });
}

/** Loaded while the volume is being opened, after what starts its threads. */
function loadCopying(): Promise<typeof import('../lib/modules-copy.ts')> {
  const loading = import('../lib/modules-copy.ts');
  // Whoever needs it hears of it.
  loading.catch(() => undefined);
  return loading;
}

/** Bytes while there are some, else files. */
class CopyProgress {
  readonly #progress: Progress;
  readonly isShown: boolean = process.stderr.isTTY === true;
  total: Amount = { bytes: 0, files: 0 };

  constructor(label: string) {
    this.#progress = startProgress({ label, noun: 'bytes' });
  }

  add({ bytes, files }: Amount): void {
    this.total = { bytes: this.total.bytes + bytes, files: this.total.files + files };
  }

  readonly report = ({ bytes }: { readonly bytes: number }): void => {
    if (this.isShown) this.#progress.update(bytes, Math.max(bytes, this.total.bytes));
  };

  stop(): void {
    this.#progress.stop();
  }
}

interface Ended {
  readonly did: string;
  readonly isDone: boolean;
  readonly elapsedMs: number;
  /** What this machine lacks. */
  readonly missing: readonly string[];
}

/** Says what was done, also when it ended early; sets the exit code when something was not. */
function report(tally: Tally, { did, isDone, elapsedMs, missing }: Ended, options: CopyOptions): void {
  const { counts, failures, notes } = tally;
  if (options.json === true) {
    const document = {
      ...counts,
      elapsedMs: Math.round(elapsedMs),
      failures: failures.map(toFields),
      notes: notes.map(toFields),
    };
    process.stdout.write(`${toJson(document, 2)}\n`);
  } else {
    // A command line that could not be carried out at all: its error says everything.
    if (!isDone && isNothing(tally)) return;
    process.stderr.write(`${summary(tally, did, elapsedMs)}\n`);
    tell(notes, ({ path, error }) => `note: ${showName(path)}: ${printable(error.message)}`);
    tell(failures, ({ path, error }) => `${showName(path)}: ${printable(error.message)} (${error.code})`);
    for (const what of missing) process.stderr.write(`netseal: note: this machine lacks ${what}\n`);
  }
  const codes = failures.map(({ error }) => exitCodeOf(error));
  // Damage is what one must hear of.
  const code = codes.includes(EXIT_DAMAGED) ? EXIT_DAMAGED : codes[0];
  if (code !== undefined) process.exitCode = code;
}

/** No more lines than somebody reads; `--json` has all. */
const TOLD_MAX = 100;

function tell(troubles: readonly Trouble[], line: (trouble: Trouble) => string): void {
  for (const trouble of troubles.slice(0, TOLD_MAX)) process.stderr.write(`netseal: ${line(trouble)}\n`);
  const more = troubles.length - TOLD_MAX;
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
  return `${parts.join(', ')} in ${seconds.toFixed(1)} s, ${formatThroughput(bytes / seconds)}`;
}

function toFields({ path, error }: Trouble): Record<string, string> {
  return { ...nameFields('path', path), code: error.code, message: error.message };
}
