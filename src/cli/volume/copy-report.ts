/** What `netseal put` and `netseal get` say while they run and at their end. */
import type { Name } from '../../base/name.ts';
import { showName } from '../../transfer/local-names.ts';
import type { Deed, Tally, Trouble } from '../../transfer/tally.ts';
import { EXIT_DAMAGED, exitCodeOf } from '../lib/exit-codes.ts';
import { jsonDocument, nameFields, type ResultFields } from '../lib/json.ts';
import { note } from '../lib/notes.ts';
import { printable } from '../lib/printable.ts';
import { errorFields, withAdvice } from '../lib/report.ts';
import { formatCount, formatSize, formatThroughput } from '../lib/sizes.ts';

/** How a copy ended. */
export interface Ended {
  /** The past tense of the command. */
  readonly did: string;
  /** What ended the copy early; undefined when it was done to the end. */
  readonly error: unknown;
  readonly elapsedMs: number;
  /** The features that this machine lacks. */
  readonly missing: readonly string[];
}

export interface ReportOptions {
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly dryRun?: boolean;
}

/** A file that went on where an interruption had ended it. */
export interface ResumedFile {
  readonly path: Name;
  readonly doneBytes: number;
  readonly sizeBytes: number;
}

const DEEDS: Readonly<Record<Deed, readonly [past: string, dry: string]>> = {
  file: ['copied', 'would copy'],
  folder: ['made folder', 'would make folder'],
  symlink: ['copied link', 'would copy link'],
  special: ['copied', 'would copy'],
  link: ['linked', 'would link'],
  attributes: ['changed attributes of', 'would change attributes of'],
  removed: ['removed', 'would remove'],
};

/** Returns the line about one path. */
export function deedLine(path: Name, deed: Deed, isDry: boolean): string {
  return `${DEEDS[deed][isDry ? 1 : 0]} ${showName(path)}\n`;
}

/** Returns the line about a file that goes on. */
export function resumedLine({ path, doneBytes, sizeBytes }: ResumedFile): string {
  const percent = Math.floor((doneBytes / sizeBytes) * 100);
  return `netseal: ${showName(path)}: going on at ${percent} %\n`;
}

/** Writes what was done, also when the copy ended early. Sets the exit code when something failed. */
export function reportCopy(
  tally: Tally,
  resumed: readonly ResumedFile[],
  ended: Ended,
  options: ReportOptions,
): void {
  const { failures } = tally;
  // When nothing was done at all, the error that follows says everything.
  if (ended.error !== undefined && isNothing(tally)) return;
  if (options.json === true) {
    for (const what of ended.missing) note(lack(what));
    process.stdout.write(jsonDocument(documentOf(tally, resumed, ended, options)));
  } else {
    reportText(tally, ended, options);
  }
  const codes = failures.map(({ error }) => exitCodeOf(error));
  // Damage matters more than any other failure.
  const code = codes.includes(EXIT_DAMAGED) ? EXIT_DAMAGED : codes[0];
  if (code !== undefined) process.exitCode = code;
}

function documentOf(
  { counts, failures, notes }: Tally,
  resumed: readonly ResumedFile[],
  { elapsedMs, error }: Ended,
  { dryRun = false }: ReportOptions,
): ResultFields {
  return {
    ...counts,
    ...(dryRun ? { dryRun } : {}),
    elapsedMs: Math.round(elapsedMs),
    ...(error === undefined ? {} : { error: errorFields(error) }),
    ...(resumed.length > 0
      ? { resumed: resumed.map(({ path, doneBytes }) => ({ ...nameFields('path', path), bytes: doneBytes })) }
      : {}),
    failures: failures.map(toFields),
    notes: notes.map(toFields),
  };
}

function reportText(tally: Tally, { did, elapsedMs, missing }: Ended, options: ReportOptions): void {
  const { failures, notes } = tally;
  if (options.quiet !== true) {
    const verb = options.dryRun === true ? `nothing was changed; would have ${did}` : did;
    process.stderr.write(`${summary(tally, verb, elapsedMs)}\n`);
    list(notes, ({ path, error }) => `note: ${showName(path)}: ${printable(error.message)}`);
  }
  list(failures, ({ path, error }) => `${showName(path)}: ${printable(withAdvice(error))} (${error.code})`);
  if (options.quiet === true) return;
  for (const what of missing) note(lack(what));
}

function lack(what: string): string {
  return `this machine lacks ${what}`;
}

/** Of fewer bytes, a rate tells how long a command takes to start. */
const RATED_BYTES_MIN = 1e6;

/** The most failures and notes that are printed. `--json` has all of them. */
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
  const { files, folders, symlinks, specials, links, unchanged, bytes, removed } = counts;
  const parts = [
    `${did} ${formatCount(files, 'file')} (${formatSize(bytes)})`,
    ...(folders > 0 ? [formatCount(folders, 'folder')] : []),
    ...(symlinks > 0 ? [formatCount(symlinks, 'symlink')] : []),
    ...(specials > 0 ? [formatCount(specials, 'special file')] : []),
    ...(links > 0 ? [formatCount(links, 'link')] : []),
    ...(unchanged > 0 ? [`${unchanged.toLocaleString('en-US')} unchanged`] : []),
    ...(removed > 0 ? [`${removed.toLocaleString('en-US')} removed`] : []),
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
