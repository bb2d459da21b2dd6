/** `netseal rm`: removes names from a volume. gc later deletes what no name leads to any more. */
import { Command } from 'commander';
import { isLoss, isNetsealError } from '../../base/errors.ts';
import type { Name } from '../../base/name.ts';
import type { Directory } from '../../volume/names/directory.ts';
import { Branches } from '../lib/concurrent.ts';
import { jsonDocument } from '../lib/json.ts';
import { eachPath, type PathFrame, type PathWork } from './each-path.ts';
import { folderOf } from './entries.ts';
import { at, failAt } from './path-errors.ts';
import { childPath, type PathOptions, pathBytes, type VolumePath, withPathOptions } from './paths.ts';

interface RmOptions extends PathOptions {
  readonly recursive?: boolean;
  readonly force?: boolean;
}

/** The number of names that are removed in one commit of their folder. An embedded folder goes whole. */
const NAMES_AT_ONCE = 8192;
const FOLDERS_AT_ONCE = 16;

/** `netseal rm STORE:/path...` */
export function command(): Command {
  const rm = new Command('rm')
    .description('Remove files, and with -r whole folders, from a volume.')
    .argument('<path...>', 'STORE:/path')
    .option('-r, --recursive', 'remove folders with everything in them')
    .option('-f, --force', 'a path that does not exist is no error');
  return withPathOptions(rm).action((texts: readonly string[], options: RmOptions) =>
    eachPath(texts, options, frame => new Removal(frame, options)),
  );
}

class Removal implements PathWork {
  readonly #frame: PathFrame;
  readonly #options: RmOptions;
  readonly #branches = new Branches(FOLDERS_AT_ONCE);
  #removedCount = 0;

  constructor(frame: PathFrame, options: RmOptions) {
    this.#frame = frame;
    this.#options = options;
  }

  async each(path: VolumePath): Promise<void> {
    const { volume } = this.#frame;
    try {
      const { directory, name } = await at(path, volume.place(pathBytes(path)));
      const found = await at(path, volume.find(pathBytes(path)));
      if (found.inode.type !== 'directory') {
        await volume.namespace.unlink(directory, name);
        this.#removedCount += 1;
      } else if (this.#options.recursive === true) {
        if (await this.#removeTree(directory, name)) return;
        await this.#removeFolder(path, directory, name, volume.foundDirectory(found));
      } else {
        throw failAt(path, 'EINVAL', 'this is a folder: remove it with -r');
      }
    } catch (error) {
      if (this.#options.force !== true || !isNoEntry(error)) throw error;
    }
  }

  end(): void {
    if (this.#options.json !== true) return;
    const { failures, report } = this.#frame;
    report(jsonDocument({ removed: this.#removedCount, failed: failures.count }));
  }

  /** Removes a folder with everything in it. Goes on past what cannot be removed; then the folder stays. */
  async #removeFolder(path: VolumePath, parent: Directory, name: Name, folder: Directory): Promise<void> {
    const { volume, failures } = this.#frame;
    const failedBefore = failures.count;
    try {
      const below = await this.#removeFiles(path, folder);
      await this.#branches.each(below, ([childName, child]) =>
        this.#removeFolder(childPath(path, childName), folder, childName, child),
      );
      if (failures.count > failedBefore && !(await this.#isEmpty(folder))) return;
      await volume.namespace.rmdir(parent, name);
      this.#removedCount += 1;
    } catch (error) {
      if (!isNoEntry(error)) failures.add(path, error);
    }
  }

  /**
   * Removes an embedded folder with everything in it, in one commit. Returns false when that is not possible:
   * then it has to be removed piece by piece, as far as that goes.
   */
  async #removeTree(parent: Directory, name: Name): Promise<boolean> {
    const { volume, signal } = this.#frame;
    signal.throwIfAborted();
    try {
      const count = await volume.namespace.removeTree(parent, name);
      this.#removedCount += count ?? 0;
      return count !== undefined;
    } catch (error) {
      if (isNoEntry(error) || !isLoss(error)) throw error;
      return false;
    }
  }

  /** Removes everything in a folder but the folders in it that cannot be removed whole, and returns those. */
  async #removeFiles(path: VolumePath, folder: Directory): Promise<[Name, Directory][]> {
    const { volume } = this.#frame;
    const below: [Name, Directory][] = [];
    let names: [Name, Directory | undefined][] = [];
    for await (const entries of volume.namespace.entries(folder, { isWalk: true })) {
      for (const entry of entries) names.push([entry.name, folderOf(volume, folder, entry)]);
      if (names.length < NAMES_AT_ONCE) continue;
      below.push(...(await this.#removeAll(path, folder, names)));
      names = [];
    }
    below.push(...(await this.#removeAll(path, folder, names)));
    return below;
  }

  /** Removes names of a folder in one commit. Returns the folders among them that cannot be removed whole. */
  async #removeAll(
    path: VolumePath,
    folder: Directory,
    names: readonly [Name, Directory | undefined][],
  ): Promise<[Name, Directory][]> {
    const { volume, failures, signal } = this.#frame;
    signal.throwIfAborted();
    const below: [Name, Directory][] = [];
    const removing = names.map(async ([name, child]) => {
      if (child?.isEmbedded === false || (child !== undefined && !(await this.#removeTree(folder, name)))) {
        below.push([name, child]);
        return;
      }
      if (child !== undefined) return;
      await volume.namespace.unlink(folder, name);
      this.#removedCount += 1;
    });
    for (const [index, outcome] of (await Promise.allSettled(removing)).entries()) {
      if (outcome.status === 'fulfilled' || isNoEntry(outcome.reason)) continue;
      failures.add(childPath(path, names[index]?.[0] ?? ''), outcome.reason);
    }
    return below;
  }

  async #isEmpty(folder: Directory): Promise<boolean> {
    return (await folder.read()).entryCount === 0;
  }
}

function isNoEntry(error: unknown): boolean {
  return isNetsealError(error) && error.code === 'ENOENT';
}
