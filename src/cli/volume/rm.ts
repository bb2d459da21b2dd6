/** `netseal rm`: names out of a volume. What nothing leads to any more is cleared away by gc. */
import { Command } from 'commander';
import { isNetsealError } from '../../base/errors.ts';
import type { Name } from '../../base/name.ts';
import type { Directory } from '../../volume/names/directory.ts';
import { idOfEntry, typeOfEntry } from '../../volume/names/inodes.ts';
import type { Volume } from '../../volume/volume.ts';
import { Branches } from '../lib/concurrent.ts';
import { toJson } from '../lib/display.ts';
import { withInterrupt } from '../lib/interrupt.ts';
import { Failures } from './failures.ts';
import {
  at,
  childPath,
  failAt,
  type PathOptions,
  parseVolumePath,
  pathBytes,
  type VolumePath,
  withPathOptions,
  withVolumePaths,
} from './paths.ts';

interface RmOptions extends PathOptions {
  readonly recursive?: boolean;
  readonly force?: boolean;
}

/** Names that go in one commit of their folder. */
const NAMES_AT_ONCE = 8192;
const FOLDERS_AT_ONCE = 16;

/** `netseal rm STORE:/path...` */
export function rmCommand(): Command {
  const command = new Command('rm')
    .description('Remove files, and with -r whole folders, from a volume.')
    .argument('<path...>', 'STORE:/path')
    .option('-r, --recursive', 'remove folders with all that is in them')
    .option('-f, --force', 'what is not there is no error');
  return withPathOptions(command).action(rm);
}

function rm(texts: readonly string[], options: RmOptions): Promise<void> {
  const paths = texts.map(text => parseVolumePath(text, options));
  return withInterrupt(signal =>
    withVolumePaths(paths, { workers: 0, ...options }, signal, async ({ volume }) => {
      const removal = new Removal(volume, options, signal);
      for (const path of paths) await removal.remove(path);
      removal.report();
    }),
  );
}

class Removal {
  readonly #volume: Volume;
  readonly #options: RmOptions;
  readonly #signal: AbortSignal;
  readonly #branches = new Branches(FOLDERS_AT_ONCE);
  readonly #failures = new Failures();
  #removedCount = 0;

  constructor(volume: Volume, options: RmOptions, signal: AbortSignal) {
    this.#volume = volume;
    this.#options = options;
    this.#signal = signal;
  }

  async remove(path: VolumePath): Promise<void> {
    try {
      const { directory, name } = await at(path, this.#volume.place(pathBytes(path)));
      const { inode } = await at(path, this.#volume.find(pathBytes(path)));
      if (inode.type !== 'directory') {
        await this.#volume.names.unlink(directory, name);
        this.#removedCount += 1;
      } else if (this.#options.recursive === true) {
        await this.#removeFolder(path, directory, name, this.#volume.directoryById(inode.id));
      } else {
        throw failAt(path, 'EISDIR', 'this is a folder: remove it with -r');
      }
    } catch (error) {
      if (this.#options.force === true && isNoEntry(error)) return;
      this.#failures.add(path, error);
    }
  }

  report(): void {
    if (this.#options.json === true) {
      const result = { removed: this.#removedCount, failed: this.#failures.count };
      process.stdout.write(`${toJson(result, 2)}\n`);
    }
    this.#failures.report();
  }

  /** Goes on past what fails; then the folder stays. */
  async #removeFolder(path: VolumePath, parent: Directory, name: Name, folder: Directory): Promise<void> {
    const failedBefore = this.#failures.count;
    try {
      const below = await this.#removeFiles(path, folder);
      await this.#branches.each(below, ([childName, child]) =>
        this.#removeFolder(childPath(path, childName), folder, childName, child),
      );
      if (this.#failures.count > failedBefore && !(await this.#isEmpty(folder))) return;
      await this.#volume.names.rmdir(parent, name);
      this.#removedCount += 1;
    } catch (error) {
      if (!isNoEntry(error)) this.#failures.add(path, error);
    }
  }

  /** Returns the folders in it. */
  async #removeFiles(path: VolumePath, folder: Directory): Promise<[Name, Directory][]> {
    const below: [Name, Directory][] = [];
    let names: Name[] = [];
    for await (const entries of this.#volume.names.entries(folder)) {
      for (const entry of entries) {
        if (typeOfEntry(entry) !== 'directory') names.push(entry.name);
        else below.push([entry.name, this.#volume.directoryById(idOfEntry(entry))]);
      }
      if (names.length < NAMES_AT_ONCE) continue;
      await this.#unlinkAll(path, folder, names);
      names = [];
    }
    await this.#unlinkAll(path, folder, names);
    return below;
  }

  async #unlinkAll(path: VolumePath, folder: Directory, names: readonly Name[]): Promise<void> {
    this.#signal.throwIfAborted();
    const unlinking = names.map(async name => {
      await this.#volume.names.unlink(folder, name);
    });
    for (const [index, outcome] of (await Promise.allSettled(unlinking)).entries()) {
      if (outcome.status === 'fulfilled') this.#removedCount += 1;
      else if (!isNoEntry(outcome.reason))
        this.#failures.add(childPath(path, names[index] ?? ''), outcome.reason);
    }
  }

  async #isEmpty(folder: Directory): Promise<boolean> {
    return (await folder.read()).entryCount === 0;
  }
}

function isNoEntry(error: unknown): boolean {
  return isNetsealError(error) && error.code === 'ENOENT';
}
