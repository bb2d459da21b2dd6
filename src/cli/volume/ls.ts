/** `netseal ls`: what is in a volume. */
import { Command } from 'commander';
import { isNetsealError } from '../../base/errors.ts';
import type { Directory } from '../../volume/names/directory.ts';
import { toBytesName } from '../../volume/names/name-checks.ts';
import type { Found, Volume } from '../../volume/volume.ts';
import { withInterrupt } from '../lib/interrupt.ts';
import { writeOut } from '../lib/write-out.ts';
import { Failures } from './failures.ts';
import { type Listed, listEntries } from './listing.ts';
import { JsonPrinter, LongPrinter, NamePrinter, type Printer } from './ls-printers.ts';
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
back. To a pipe or file, names go as they are: use -0 or --json to take them
apart.`;

/** `netseal ls STORE:/path...` */
export function lsCommand(): Command {
  const command = new Command('ls')
    .description('List folders and files of a volume.')
    .argument('<path...>', 'STORE:/path; STORE alone is its root')
    .option('-l, --long', 'mode, links, owner, size, stored size, time, name')
    .option('-R, --recursive', 'also what is in the folders below')
    .option('-d, --directory', 'folders themselves, not what is in them')
    .option('-h, --human-readable', 'sizes as 1.5 MiB')
    .option('-0, --null', 'end each line with a zero byte')
    .option('-a, --all', 'changes nothing: no name is hidden')
    .addHelpText('after', NOTES);
  return withPathOptions(command).action(ls);
}

function ls(texts: readonly string[], options: LsOptions): Promise<void> {
  const paths = texts.map(text => parseVolumePath(text, options));
  return withInterrupt(signal =>
    withVolumePaths(paths, { workers: 0, ...options }, signal, async ({ volume }) => {
      const listing = new Listing(volume, options, paths.length > 1, signal);
      await listing.list(paths);
    }),
  );
}

class Listing {
  readonly #volume: Volume;
  readonly #options: LsOptions;
  readonly #signal: AbortSignal;
  readonly #printer: Printer;
  readonly #failures = new Failures();

  constructor(volume: Volume, options: LsOptions, hasHeaders: boolean, signal: AbortSignal) {
    this.#volume = volume;
    this.#options = options;
    this.#signal = signal;
    this.#printer = makePrinter(options, hasHeaders);
  }

  async list(paths: readonly VolumePath[]): Promise<void> {
    const folders: [VolumePath, Directory][] = [];
    for (const path of paths) {
      try {
        const found = await at(path, this.#find(path));
        const isListed = found.inode.type === 'directory' && this.#options.directory !== true;
        if (isListed) folders.push([path, this.#volume.directoryById(found.inode.id)]);
        else await this.#print(path, [listedOf(path, found)], 'single');
      } catch (error) {
        this.#failures.add(path, error);
      }
    }
    for (const [path, directory] of folders) await this.#listFolder(path, directory);
    await writeOut(this.#printer.end(), this.#signal);
    this.#failures.report();
  }

  /** As everywhere, a symbolic link is what it leads to, unless it is itself what one wants to know about. */
  async #find(path: VolumePath): Promise<Found> {
    const { long, directory, json } = this.#options;
    const bytes = pathBytes(path);
    if (long === true || directory === true || json === true) return await this.#volume.find(bytes);
    try {
      return await this.#volume.find(bytes, { follow: true });
    } catch (error) {
      if (!isNetsealError(error) || error.code !== 'ENOENT') throw error;
      return await this.#volume.find(bytes);
    }
  }

  async #listFolder(path: VolumePath, directory: Directory): Promise<void> {
    const { long, json, recursive } = this.#options;
    const below: [VolumePath, Directory][] = [];
    this.#printer.startFolder(path);
    try {
      const needsInode = long === true || json === true;
      for await (const items of listEntries(this.#volume, directory, this.#signal, () => needsInode)) {
        await this.#print(path, items, 'entries');
        if (recursive !== true) continue;
        for (const { entry, name } of items) {
          if (entry.node.kind !== 'object' || entry.node.type !== 'directory') continue;
          below.push([childPath(path, name), this.#volume.directoryById(entry.node.id)]);
        }
      }
    } catch (error) {
      this.#failures.add(path, error);
    }
    for (const [child, childDirectory] of below) await this.#listFolder(child, childDirectory);
  }

  async #print(path: VolumePath, items: readonly Listed[], what: 'single' | 'entries'): Promise<void> {
    const pathOf = (item: Listed): VolumePath => (what === 'single' ? path : childPath(path, item.name));
    for (const item of items) if (item.error !== undefined) this.#failures.add(pathOf(item), item.error);
    const bytes = this.#printer.print(
      items.map(item => ({ ...item, path: pathOf(item).path, isNamedByPath: what === 'single' })),
    );
    if (bytes.byteLength > 0) await writeOut(bytes, this.#signal);
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

/** What a path on the command line leads to, listed by itself. */
function listedOf({ path }: VolumePath, { inode, entry }: Found): Listed {
  const name = entry?.name ?? toBytesName('/');
  const node = { kind: 'object', id: inode.id, type: inode.type } as const;
  return { entry: entry ?? { name: path, node }, name, type: inode.type, inode };
}
