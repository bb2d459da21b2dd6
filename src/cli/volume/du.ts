/** `netseal du`: the size of everything in folders, and of what is stored for it. */
import { Command } from 'commander';
import type { Id } from '../../base/ids.ts';
import type { DirectoryEntry, FileInode } from '../../server/sealed/inode.ts';
import type { Directory } from '../../volume/names/directory.ts';
import { typeOfEntry } from '../../volume/names/references.ts';
import { Branches } from '../lib/concurrent.ts';
import { jsonList, nameFields } from '../lib/json.ts';
import { Columns, Lines } from '../lib/lines.ts';
import { eachPath, type PathFrame, type PathWork } from './each-path.ts';
import { folderOf, listEntries } from './entries.ts';
import { formatBytes } from './inode-display.ts';
import { withCacheOption } from './options.ts';
import { at } from './path-errors.ts';
import { childPath, type PathOptions, pathBytes, type VolumePath, withPathOptions } from './paths.ts';

interface DuOptions extends PathOptions {
  readonly summarize?: boolean;
  readonly humanReadable?: boolean;
  readonly apparent?: boolean;
}

const FOLDERS_AT_ONCE = 8;

const NOTES = `
The first number is the size of the files' content. The second is the size of
the sealed units that are stored for it, without folders and inodes. A file with
several names counts once, where it comes first.`;

/** `netseal du STORE:/path...` */
export function command(): Command {
  const du = new Command('du')
    .description('Add up the files in each folder of a volume.')
    .argument('<path...>', 'STORE:/path; STORE alone is its root')
    .option('-s, --summarize', 'only the given paths, not the folders below them')
    .option('-h, --human-readable', 'sizes as 1.5 MiB')
    .option('--apparent', 'only the size of the content, not of what is stored')
    .addHelpText('after', NOTES);
  return withCacheOption(withPathOptions(du)).action((texts: readonly string[], options: DuOptions) =>
    eachPath(texts, options, frame => new Survey(frame, options)),
  );
}

interface Sizes {
  size: number;
  stored: number;
}

/** The sizes of a folder's own files, without the folders below it. */
interface FolderUse extends Sizes {
  readonly path: VolumePath;
  /** Files with several names. They are added later, so that each counts once. */
  readonly linked: FileInode[];
  readonly below: FolderUse[];
}

interface Total extends Sizes {
  readonly path: VolumePath;
}

class Survey implements PathWork {
  readonly #frame: PathFrame;
  readonly #options: DuOptions;
  readonly #branches = new Branches(FOLDERS_AT_ONCE);
  readonly #counted = new Set<Id>();
  readonly #totals: Total[] = [];

  constructor(frame: PathFrame, options: DuOptions) {
    this.#frame = frame;
    this.#options = options;
  }

  async each(path: VolumePath): Promise<void> {
    const { volume } = this.#frame;
    const found = await at(path, volume.find(pathBytes(path)));
    const { inode } = found;
    const use = emptyUse(path);
    if (inode.type === 'directory') await this.#fill(use, volume.foundDirectory(found));
    else if (inode.type === 'file') count(use, inode);
    addUp(use, this.#counted, this.#totals, this.#options.summarize === true);
  }

  async end(): Promise<void> {
    await this.#frame.print(format(this.#totals, this.#options));
  }

  async #fill(use: FolderUse, directory: Directory): Promise<void> {
    const { volume, failures, signal } = this.#frame;
    const folders: [FolderUse, Directory][] = [];
    try {
      const isFile = (entry: DirectoryEntry): boolean => typeOfEntry(entry) === 'file';
      for await (const items of listEntries(volume, directory, signal, isFile, { isWalk: true })) {
        for (const { entry, name, inode, error } of items) {
          const path = childPath(use.path, name);
          if (error !== undefined) failures.add(path, error);
          if (inode?.type === 'file') count(use, inode);
          const folder = folderOf(volume, directory, entry);
          if (folder === undefined) continue;
          const child = emptyUse(path);
          use.below.push(child);
          folders.push([child, folder]);
        }
      }
    } catch (error) {
      failures.add(use.path, error);
    }
    await this.#branches.each(folders, ([child, folder]) => this.#fill(child, folder));
  }
}

function emptyUse(path: VolumePath): FolderUse {
  return { path, size: 0, stored: 0, linked: [], below: [] };
}

function count(use: FolderUse, inode: FileInode): void {
  if (inode.linkCount > 1) use.linked.push(inode);
  else add(use, { size: inode.sizeBytes, stored: inode.storedBytes });
}

function add(sum: Sizes, { size, stored }: Sizes): void {
  sum.size += size;
  sum.stored += stored;
}

/**
 * Adds the totals of a folder to `totals`, after those of the folders below it. Folders are visited in the
 * order of their names, so that a file with several names always counts in the same folder.
 */
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
    return jsonList(
      totals.map(({ path, size, stored }) => ({ ...nameFields('path', path.path), size, stored })),
    );
  }
  const rows = totals.map(({ size, stored }) =>
    (apparent ? [size] : [size, stored]).map(bytes => formatBytes(bytes, humanReadable)),
  );
  const columns = new Columns();
  for (const row of rows) columns.fit(row);
  const lines = new Lines(process.stdout.isTTY === true);
  for (const [index, { path }] of totals.entries()) {
    lines.add(`${columns.join(rows[index] ?? [])}  ${lines.name(path.path)}`);
  }
  return lines.take();
}
