/** `netseal ls`: lists folders and files of a volume. */
import { Command } from 'commander';
import { isNetsealError } from '../../base/errors.ts';
import type { Directory } from '../../volume/names/directory.ts';
import { toBytesName } from '../../volume/names/name-checks.ts';
import type { Found } from '../../volume/names/path-walk.ts';
import { eachPath, type PathFrame, type PathWork } from './each-path.ts';
import { folderOf, type Listed, listEntries } from './entries.ts';
import { JsonPrinter, LongPrinter, NamePrinter, type Printer } from './ls-printers.ts';
import { withCacheOption } from './options.ts';
import { at } from './path-errors.ts';
import { childPath, type PathOptions, pathBytes, type VolumePath, withPathOptions } from './paths.ts';

interface LsOptions extends PathOptions {
  readonly long?: boolean;
  readonly recursive?: boolean;
  readonly directory?: boolean;
  readonly humanReadable?: boolean;
  readonly null?: boolean;
}

const NOTES = `
Names are sorted by their bytes, and none is hidden. On a terminal, bytes that
it cannot print are shown as \\xNN, and a backslash as \\\\; --escaped reads that
back. To a pipe or file, names go as they are: -0 or --json keeps them apart.`;

/** `netseal ls STORE:/path...` */
export function command(): Command {
  const ls = new Command('ls')
    .description('List folders and files of a volume.')
    .argument('<path...>', 'STORE:/path; STORE alone is its root')
    .option('-l, --long', 'mode, links, owner, size, stored size, time, name')
    .option('-R, --recursive', 'also list the folders below')
    .option('-d, --directory', 'list folders themselves, not what is in them')
    .option('-h, --human-readable', 'sizes as 1.5 MiB')
    .option('-0, --null', 'end each line with a zero byte')
    .option('-a, --all', 'changes nothing: no name is hidden')
    .addHelpText('after', NOTES);
  return withCacheOption(withPathOptions(ls)).action((texts: readonly string[], options: LsOptions) =>
    eachPath(texts, options, frame => new Listing(frame, options, texts.length > 1)),
  );
}

/** Lists the files among the paths first, then the folders. */
class Listing implements PathWork {
  readonly #frame: PathFrame;
  readonly #options: LsOptions;
  readonly #printer: Printer;
  readonly #folders: [VolumePath, Directory][] = [];

  constructor(frame: PathFrame, options: LsOptions, hasSeveral: boolean) {
    this.#frame = frame;
    this.#options = options;
    this.#printer = makePrinter(options, hasSeveral);
  }

  async each(path: VolumePath): Promise<void> {
    const found = await at(path, this.#find(path));
    const isListed = found.inode.type === 'directory' && this.#options.directory !== true;
    if (isListed) this.#folders.push([path, this.#frame.volume.foundDirectory(found)]);
    else await this.#print(path, [listedOf(path, found)], 'single');
  }

  async end(): Promise<void> {
    for (const [path, directory] of this.#folders) await this.#listFolder(path, directory);
    await this.#frame.print(this.#printer.end());
  }

  /** Follows a symbolic link, unless the options ask about the link itself or it leads nowhere. */
  async #find(path: VolumePath): Promise<Found> {
    const { volume } = this.#frame;
    const { long, directory, json } = this.#options;
    const bytes = pathBytes(path);
    if (long === true || directory === true || json === true) return await volume.find(bytes);
    try {
      return await volume.find(bytes, { follow: true });
    } catch (error) {
      if (!isNetsealError(error) || error.code !== 'ENOENT') throw error;
      return await volume.find(bytes);
    }
  }

  async #listFolder(path: VolumePath, directory: Directory): Promise<void> {
    const { volume, failures, signal } = this.#frame;
    const { long, json, recursive } = this.#options;
    const below: [VolumePath, Directory][] = [];
    this.#printer.startFolder(path);
    try {
      const needsInode = long === true || json === true;
      const isWalk = recursive === true;
      for await (const items of listEntries(volume, directory, signal, () => needsInode, { isWalk })) {
        await this.#print(path, items, 'entries');
        if (recursive !== true) continue;
        for (const { entry, name } of items) {
          const folder = folderOf(volume, directory, entry);
          if (folder !== undefined) below.push([childPath(path, name), folder]);
        }
      }
    } catch (error) {
      failures.add(path, error);
    }
    for (const [child, folder] of below) await this.#listFolder(child, folder);
  }

  async #print(path: VolumePath, items: readonly Listed[], what: 'single' | 'entries'): Promise<void> {
    const pathOf = (item: Listed): VolumePath => (what === 'single' ? path : childPath(path, item.name));
    for (const item of items)
      if (item.error !== undefined) this.#frame.failures.add(pathOf(item), item.error);
    const bytes = this.#printer.print(
      items.map(item => ({ ...item, path: pathOf(item).path, isNamedByPath: what === 'single' })),
    );
    if (bytes.byteLength > 0) await this.#frame.print(bytes);
  }
}

function makePrinter(options: LsOptions, hasSeveral: boolean): Printer {
  if (options.json === true) return new JsonPrinter();
  const settings = {
    isTerminal: process.stdout.isTTY === true && options.null !== true,
    end: options.null === true ? '\0' : '\n',
    hasHeaders: hasSeveral || options.recursive === true,
    isHuman: options.humanReadable === true,
  };
  return options.long === true ? new LongPrinter(settings) : new NamePrinter(settings);
}

/** Returns the file or folder that a path leads to as an entry, to be listed by itself. */
function listedOf({ path }: VolumePath, { inode, entry }: Found): Listed {
  const name = entry?.name ?? toBytesName('/');
  const node = { kind: 'object', id: inode.id, type: inode.type } as const;
  return { entry: entry ?? { name: path, node }, name, type: inode.type, inode };
}
