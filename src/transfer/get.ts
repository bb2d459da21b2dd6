/**
 * Copies files and trees out of a volume. Each file appears whole or not at all; what is there already and unchanged (type,
 * size, modification time) is skipped, so that a repetition goes on where an interruption ended. What is damaged or cannot be
 * written is noted, and the rest goes on. Nothing is ever written outside the target: see local-target.ts.
 */
import { NetsealError, requireArgument } from '../base/errors.ts';
import type { DirectoryEntry, FileInode, Inode, Name } from '../server/sealed/inode.ts';
import type { FileReader, Piece } from '../volume/file-reader.ts';
import { parsePath, toBytesName } from '../volume/names.ts';
import type { Found, Volume } from '../volume/volume.ts';
import { GetFiles, isSmall, type SmallFile } from './get-files.ts';
import type { LocalStat } from './local-calls.ts';
import { collisions, type FoldingRules } from './local-folding.ts';
import { checkTargetName, joinPath, showName } from './local-names.ts';
import { statLocal } from './local-source.ts';
import { TargetFolder } from './local-target.ts';
import type { TargetFile } from './local-target-file.ts';
import { onVolume, StoreFailure, type Tally } from './tally.ts';

export interface GetOptions {
  /** Folders with all that is in them; otherwise they are refused. */
  readonly recursive?: boolean | undefined;
  /** Restores owners, too, and what depends on them. */
  readonly owner?: boolean | undefined;
  /** Which names are one in the target; asked of the file system when left out. */
  readonly folding?: FoldingRules | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Copies paths of the volume to a local path; the rules for names are those of `put`, the other way round.
 *
 * Fills `tally`. Rejects before anything is written with ENOENT, EISDIR, ENOTDIR, EINVAL; later with what ends everything.
 */
export async function get(
  volume: Volume,
  sources: readonly (string | Uint8Array)[],
  target: string | Uint8Array,
  tally: Tally,
  options: GetOptions = {},
): Promise<void> {
  const jobs = await plan(volume, sources, target, options);
  const getter = new Getter(volume, tally, options);
  try {
    await getter.run(jobs);
  } catch (error) {
    throw error instanceof StoreFailure ? error.cause : error;
  }
}

/** One source with the local folder and name that it goes to. */
interface GetJob {
  readonly found: Found;
  readonly path: Name;
  readonly folder: Name;
  readonly name: Name;
}

async function plan(
  volume: Volume,
  sources: readonly (string | Uint8Array)[],
  target: string | Uint8Array,
  { recursive = false }: GetOptions,
): Promise<GetJob[]> {
  const local = toBytesName(target);
  const there = localStat(target);
  const isInto = sources.length > 1 || local.endsWith('/');
  if (isInto && there?.type !== 'folder') {
    throw new NetsealError(there === undefined ? 'ENOENT' : 'ENOTDIR', `${showName(local)} is no folder`);
  }
  const jobs: GetJob[] = [];
  for (const source of sources) {
    const path = toBytesName(source);
    const found = await volume.find(source, { follow: !recursive });
    const isFolder = found.inode.type === 'directory';
    if (isFolder && !recursive) {
      throw new NetsealError('EISDIR', `${showName(path)} is a folder: add -r to copy all of it`);
    }
    const goesInto = there?.type === 'folder' && (isInto || !isFolder);
    if (goesInto) {
      const name = parsePath(source).at(-1);
      requireArgument(name !== undefined, 'the root has no name of its own: say under which name to get it');
      jobs.push({ found, path, folder: local, name });
    } else {
      const { folder, name } = splitLocal(local);
      jobs.push({ found, path, folder, name });
    }
  }
  requireArgument(
    new Set(jobs.map(({ folder, name }) => `${folder}\0${name}`)).size === jobs.length,
    'two of the sources have the same name: copy them one by one',
  );
  return jobs;
}

function localStat(path: string | Uint8Array): LocalStat | undefined {
  try {
    return statLocal(path, { followsLink: true });
  } catch (error) {
    if (error instanceof NetsealError && (error.code === 'ENOENT' || error.code === 'ENOTDIR'))
      return undefined;
    throw error;
  }
}

/** The local folder that a path is in, and its name there. */
function splitLocal(path: Name): { folder: Name; name: Name } {
  const trimmed = path.replace(/\/+$/, '');
  const at = trimmed.lastIndexOf('/');
  const name = trimmed.slice(at + 1);
  if (name === '' || name === '.' || name === '..')
    return { folder: trimmed === '' ? '/' : trimmed, name: '.' };
  return { folder: at === -1 ? '.' : at === 0 ? '/' : trimmed.slice(0, at), name };
}

/** Where further names of a file that has several can be linked from. */
interface Written {
  readonly root: TargetFolder;
  readonly folders: readonly Name[];
  readonly name: Name;
}

/** A local folder that is being filled. */
interface Target {
  readonly root: TargetFolder;
  /** From the root. */
  readonly folders: readonly Name[];
  readonly folder: TargetFolder;
}

class Getter {
  readonly #volume: Volume;
  readonly #tally: Tally;
  readonly #options: GetOptions;
  readonly #files: GetFiles;
  readonly #written = new Map<string, Written>();
  readonly #signal: AbortSignal | undefined;
  #folding: FoldingRules | undefined;

  constructor(volume: Volume, tally: Tally, options: GetOptions) {
    this.#volume = volume;
    this.#tally = tally;
    this.#options = options;
    this.#signal = options.signal;
    this.#folding = options.folding;
    this.#files = new GetFiles(volume, tally, options.signal, (file, bytes) => this.#writeSmall(file, bytes));
  }

  async run(jobs: readonly GetJob[]): Promise<void> {
    for (const { found, path, folder, name } of jobs) {
      const root = TargetFolder.open(Buffer.from(folder, 'latin1'));
      try {
        this.#folding ??= root.probeFolding();
        const target = { root, folders: [], folder: root };
        await this.#attempt(path, () => this.#getInode(target, name, path, found.inode, found));
        await this.#files.flush();
      } finally {
        await this.#files.drop();
        root.close();
      }
    }
  }

  async #attempt(path: Name, work: () => Promise<void> | void): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (error instanceof StoreFailure) throw error;
      this.#signal?.throwIfAborted();
      this.#tally.fail(path, error);
    }
  }

  async #getInode(
    target: Target,
    name: Name,
    path: Name,
    inode: Inode,
    place: Pick<Found, 'parent' | 'entry'>,
  ): Promise<void> {
    if (inode.type === 'directory') await this.#getFolder(target, name, path, inode);
    else if (inode.type === 'symlink') this.#getSymlink(target, name, path, inode);
    else await this.#getFile(target, name, path, inode, place);
  }

  async #getFolder(
    target: Target,
    name: Name,
    path: Name,
    inode: Extract<Inode, { type: 'directory' }>,
  ): Promise<void> {
    const isHere = name === '.';
    const folder = isHere ? target.folder.descend([]) : target.folder.child(name);
    const folders = isHere ? target.folders : [...target.folders, name];
    try {
      this.#tally.counts.folders += 1;
      await this.#getEntries({ root: target.root, folders, folder }, path, inode);
    } finally {
      // Files of this folder may still have to be written, and would change its times.
      await this.#files.whenWritten(() => this.#finishFolder(folder, path, inode));
    }
  }

  #finishFolder(folder: TargetFolder, path: Name, inode: Inode): void {
    try {
      this.#noteLost(path, folder.finishFolder(inode, { owner: this.#options.owner ?? false }));
    } catch (error) {
      this.#tally.failures.push({ path, error: error instanceof NetsealError ? error : unexpected(error) });
    } finally {
      folder.close();
    }
  }

  async #getEntries(target: Target, path: Name, inode: Inode): Promise<void> {
    const directory = this.#volume.inodes.directory(inode.id);
    const { folding } = this.#options;
    const rules = folding ?? this.#folding;
    const isFolding = rules !== undefined && (rules.foldsCase || rules.foldsForms || rules.dropsDots);
    const seen: Name[] = isFolding ? target.folder.names() : [];
    const folders: DirectoryEntry[] = [];
    for await (const entries of this.#volume.names.entries(directory)) {
      this.#signal?.throwIfAborted();
      const names = entries.map(entry => entry.name);
      const clashes = isFolding
        ? collisions([...seen, ...names.filter(name => !seen.includes(name))], rules)
        : NO_CLASHES;
      if (isFolding) seen.push(...names);
      for (const entry of entries) {
        const entryPath = joinPath(path, entry.name);
        const clash = clashes.get(entry.name);
        if (clash !== undefined) {
          const message = `not written: "${showName(clash)}" has the same name to this file system`;
          this.#tally.fail(entryPath, new NetsealError('EEXIST', message));
        } else if (entry.node.kind === 'object' && entry.node.type === 'directory') {
          // Afterwards: the files of one folder lie together in the store.
          folders.push(entry);
        } else {
          await this.#attempt(entryPath, () => this.#getEntry(target, entry, entryPath, directory));
        }
      }
    }
    for (const entry of folders) {
      const entryPath = joinPath(path, entry.name);
      await this.#attempt(entryPath, () => this.#getEntry(target, entry, entryPath, directory));
    }
  }

  async #getEntry(
    target: Target,
    entry: DirectoryEntry,
    path: Name,
    parent: NonNullable<Found['parent']>,
  ): Promise<void> {
    checkTargetName(entry.name);
    const { node } = entry;
    const inode = node.kind === 'embedded' ? node.inode : await onVolume(this.#volume.inodes.inodeOf(entry));
    // Being removed by somebody.
    if (inode.type === 'directory' && inode.isDead) return;
    await this.#getInode(target, entry.name, path, inode, { parent, entry });
  }

  #getSymlink(target: Target, name: Name, path: Name, inode: Extract<Inode, { type: 'symlink' }>): void {
    this.#tally.progress(0, 1);
    const existing = target.folder.existing(name);
    if (existing?.type === 'folder') throw folderInTheWay();
    this.#noteLost(
      path,
      target.folder.symlink(name, inode.target, inode, { owner: this.#options.owner ?? false }) ?? [],
    );
    this.#tally.counts.symlinks += 1;
  }

  async #getFile(
    target: Target,
    name: Name,
    path: Name,
    inode: FileInode,
    place: Pick<Found, 'parent' | 'entry'>,
  ): Promise<void> {
    const { folder } = target;
    const existing = folder.existing(name);
    if (existing?.type === 'folder') throw folderInTheWay();
    if (inode.linkCount > 1 && (await this.#linkToWritten(target, name, inode, existing))) return;
    if (existing?.type === 'file' && isUnchanged(existing, inode)) {
      this.#tally.counts.unchanged += 1;
      this.#tally.progress(inode.sizeBytes, 1);
    } else if (isSmall(inode)) {
      await this.#files.add({ folder, name, path, inode });
      // A later name may be linked to it, so it must be there.
      if (inode.linkCount > 1) await this.#files.flush();
    } else {
      await this.#getLarge(folder, name, path, this.#volume.reader(inode, place));
    }
    if (inode.linkCount > 1)
      this.#written.set(inode.id, { root: target.root, folders: target.folders, name });
  }

  /** Another name of a file that was written before. */
  async #linkToWritten(
    target: Target,
    name: Name,
    inode: FileInode,
    existing: LocalStat | undefined,
  ): Promise<boolean> {
    const written = this.#written.get(inode.id);
    if (written === undefined || written.root !== target.root) return false;
    const from = written.root.descend(written.folders);
    try {
      const original = from.existing(written.name);
      if (original === undefined) return false;
      const isLinked = existing?.inode === original.inode && existing.device === original.device;
      if (!isLinked) target.folder.link(name, from, written.name);
      this.#tally.counts[isLinked ? 'unchanged' : 'links'] += 1;
      this.#tally.progress(inode.sizeBytes, 1);
      return true;
    } finally {
      from.close();
    }
  }

  #writeSmall({ folder, name, path, inode }: SmallFile, bytes: Uint8Array | undefined): void {
    const file = folder.createFile(name);
    try {
      if (bytes !== undefined && bytes.byteLength > 0) file.writeSync(bytes, 0);
      this.#finish(file, path, inode);
    } catch (error) {
      file.discard();
      throw error;
    }
  }

  async #getLarge(folder: TargetFolder, name: Name, path: Name, reader: FileReader): Promise<void> {
    const file = folder.createFile(name);
    const failures: Piece[] = [];
    try {
      for await (const pieces of reader.groups(0, reader.sizeBytes, { signal: this.#signal })) {
        failures.push(...pieces.filter(({ error }) => error !== undefined));
        for (const { parts, offsetBytes } of runsOf(pieces)) {
          await file.writeParts(parts, offsetBytes, this.#signal);
        }
        for (const { lengthBytes } of pieces) this.#tally.progress(lengthBytes, 0);
      }
      if (failures.length > 0) throw damage(failures);
      this.#tally.progress(0, 1);
      this.#finish(file, path, reader.inode);
    } catch (error) {
      file.discard();
      throw error;
    }
  }

  #finish(file: TargetFile, path: Name, inode: FileInode): void {
    const { sizeBytes } = inode;
    this.#noteLost(path, file.finish({ attributes: inode, sizeBytes, owner: this.#options.owner ?? false }));
    this.#tally.counts.files += 1;
    this.#tally.counts.bytes += sizeBytes;
  }

  #noteLost(path: Name, lost: readonly Name[]): void {
    if (lost.length > 0) this.#tally.note(path, `attributes not restored: ${lost.map(showName).join(', ')}`);
  }
}

const NO_CLASHES: ReadonlyMap<Name, Name> = new Map();

function isUnchanged({ sizeBytes, mtimeNs }: LocalStat, inode: FileInode): boolean {
  // Without the native calls times are kept to the microsecond.
  const difference = mtimeNs - inode.mtimeNs;
  return sizeBytes === inode.sizeBytes && difference < 1000n && difference > -1000n;
}

/** Data that follows one another without a gap. */
function runsOf(pieces: readonly Piece[]): { readonly offsetBytes: number; readonly parts: Uint8Array[] }[] {
  const runs: { readonly offsetBytes: number; readonly parts: Uint8Array[] }[] = [];
  let endBytes = -1;
  for (const { bytes, offsetBytes } of pieces) {
    if (bytes === undefined) continue;
    if (offsetBytes === endBytes) runs.at(-1)?.parts.push(bytes);
    else runs.push({ offsetBytes, parts: [bytes] });
    endBytes = offsetBytes + bytes.byteLength;
  }
  return runs;
}

/** One error for all that is lost of a file. */
function damage(pieces: readonly Piece[]): NetsealError {
  const ordered = [...pieces].sort((left, right) => left.offsetBytes - right.offsetBytes);
  const [first] = ordered;
  const ranges = ordered
    .slice(0, 8)
    .map(({ offsetBytes, lengthBytes }) => `${offsetBytes} to ${offsetBytes + lengthBytes}`);
  const more = ordered.length > ranges.length ? `, and ${ordered.length - ranges.length} more` : '';
  const why = first?.error;
  return new NetsealError(
    why?.code ?? 'EAUTH',
    `bytes ${ranges.join(', ')}${more} are lost: ${why?.message}`,
    {
      cause: why,
    },
  );
}

function unexpected(cause: unknown): NetsealError {
  return new NetsealError('EBUG', `unexpected: ${cause instanceof Error ? cause.message : cause}`, { cause });
}

function folderInTheWay(): NetsealError {
  return new NetsealError('EISDIR', 'a folder of this name is there: remove it first');
}
