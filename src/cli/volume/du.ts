/** `netseal du`: how much is in folders, and how much is stored for it. */
import { Command } from 'commander';
import type { Id } from '../../base/ids.ts';
import type { DirectoryEntry, FileInode } from '../../server/sealed/inode.ts';
import type { Directory } from '../../volume/names/directory.ts';
import { typeOfEntry } from '../../volume/names/inodes.ts';
import type { Found, Volume } from '../../volume/volume.ts';
import { Branches } from '../lib/concurrent.ts';
import { formatBytes, Lines, nameFields, toJson } from '../lib/display.ts';
import { withInterrupt } from '../lib/interrupt.ts';
import { writeOut } from '../lib/write-out.ts';
import { Failures } from './failures.ts';
import { listEntries } from './listing.ts';
import {
  at,
  childPath,
  type PathOptions,
  parseVolumePath,
  pathBytes,
  type VolumePath,
  withPathOptions,
  withVolumePaths,
} from './paths.ts';

interface DuOptions extends PathOptions {
  readonly summarize?: boolean;
  readonly humanReadable?: boolean;
  readonly apparent?: boolean;
}

const FOLDERS_AT_ONCE = 8;

const NOTES = `
The first number is the size of the files' content, the second what is stored
for it: sealed units, without folders and inodes. A file with several names
counts once, where it comes first.`;

/** `netseal du STORE:/path...` */
export function duCommand(): Command {
  const command = new Command('du')
    .description('Add up the files in each folder of a volume.')
    .argument('<path...>', 'STORE:/path; STORE alone is its root')
    .option('-s, --summarize', 'only what is named, not the folders below')
    .option('-h, --human-readable', 'sizes as 1.5 MiB')
    .option('--apparent', 'only the size, not what is stored')
    .addHelpText('after', NOTES);
  return withPathOptions(command).action(du);
}

function du(texts: readonly string[], options: DuOptions): Promise<void> {
  const paths = texts.map(text => parseVolumePath(text, options));
  return withInterrupt(signal =>
    withVolumePaths(paths, { workers: 0, ...options }, signal, async ({ volume }) => {
      const failures = new Failures();
      const survey = new Survey(volume, failures, signal);
      const counted = new Set<Id>();
      const totals: Total[] = [];
      for (const path of paths) {
        try {
          const use = await survey.of(path, await at(path, volume.find(pathBytes(path))));
          addUp(use, counted, totals, options.summarize === true);
        } catch (error) {
          failures.add(path, error);
        }
      }
      await writeOut(format(totals, options), signal);
      failures.report();
    }),
  );
}

interface Sizes {
  size: number;
  stored: number;
}

/** What a folder holds by itself. */
interface FolderUse extends Sizes {
  readonly path: VolumePath;
  /** Files that other names may lead to as well. */
  readonly linked: FileInode[];
  readonly below: FolderUse[];
}

interface Total extends Sizes {
  readonly path: VolumePath;
}

class Survey {
  readonly #volume: Volume;
  readonly #failures: Failures;
  readonly #signal: AbortSignal;
  readonly #branches = new Branches(FOLDERS_AT_ONCE);

  constructor(volume: Volume, failures: Failures, signal: AbortSignal) {
    this.#volume = volume;
    this.#failures = failures;
    this.#signal = signal;
  }

  async of(path: VolumePath, { inode }: Found): Promise<FolderUse> {
    const use: FolderUse = { path, size: 0, stored: 0, linked: [], below: [] };
    if (inode.type === 'directory') await this.#fill(use, this.#volume.directoryById(inode.id));
    else if (inode.type === 'file') count(use, inode);
    return use;
  }

  async #fill(use: FolderUse, directory: Directory): Promise<void> {
    const folders: [FolderUse, Directory][] = [];
    try {
      const isFile = (entry: DirectoryEntry): boolean => typeOfEntry(entry) === 'file';
      for await (const items of listEntries(this.#volume, directory, this.#signal, isFile)) {
        for (const { entry, name, inode, error } of items) {
          const path = childPath(use.path, name);
          if (error !== undefined) this.#failures.add(path, error);
          if (inode?.type === 'file') count(use, inode);
          if (entry.node.kind !== 'object' || entry.node.type !== 'directory') continue;
          const child: FolderUse = { path, size: 0, stored: 0, linked: [], below: [] };
          use.below.push(child);
          folders.push([child, this.#volume.directoryById(entry.node.id)]);
        }
      }
    } catch (error) {
      this.#failures.add(use.path, error);
    }
    await this.#branches.each(folders, ([child, childDirectory]) => this.#fill(child, childDirectory));
  }
}

function count(use: FolderUse, inode: FileInode): void {
  if (inode.linkCount > 1) use.linked.push(inode);
  else add(use, { size: inode.sizeBytes, stored: inode.storedBytes });
}

function add(sum: Sizes, { size, stored }: Sizes): void {
  sum.size += size;
  sum.stored += stored;
}

/** Folders after what is in them, in the order of their names, so that it is always the same name that a file counts for. */
function addUp(use: FolderUse, counted: Set<Id>, totals: Total[], isSummary: boolean): Total {
  const total = { path: use.path, size: use.size, stored: use.stored };
  for (const { id, sizeBytes, storedBytes } of use.linked) {
    if (counted.has(id)) continue;
    counted.add(id);
    add(total, { size: sizeBytes, stored: storedBytes });
  }
  const shown = isSummary ? [] : totals;
  for (const child of use.below) add(total, addUp(child, counted, shown, isSummary));
  totals.push(total);
  return total;
}

function format(totals: readonly Total[], options: DuOptions): Uint8Array | string {
  const { humanReadable = false, apparent = false, json = false } = options;
  if (json) {
    const rows = totals.map(({ path, size, stored }) => ({ ...nameFields('path', path.path), size, stored }));
    return `${toJson(rows, 2)}\n`;
  }
  const rows = totals.map(({ size, stored }) =>
    (apparent ? [size] : [size, stored]).map(bytes => formatBytes(bytes, humanReadable)),
  );
  const widths = [0, 1].map(column =>
    rows.reduce((most, row) => Math.max(most, row[column]?.length ?? 0), 0),
  );
  const lines = new Lines(process.stdout.isTTY === true);
  for (const [index, { path }] of totals.entries()) {
    const cells = (rows[index] ?? []).map((cell, column) => cell.padStart(widths[column] ?? 0));
    lines.add(`${cells.join('  ')}  ${lines.name(path.path)}`);
  }
  return lines.take();
}
