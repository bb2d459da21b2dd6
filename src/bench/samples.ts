/** Reads samples of the user's files and folders into memory. No other file of the bench reads a disk. */
import type { Dirent, Stats } from 'node:fs';
import { type FileHandle, open, readdir, stat } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { messageOf, NetsealError, requireArgument, systemCodeOf } from '../base/errors.ts';
import { MIB } from '../base/geometry.ts';
import { formatCount, formatSize } from './format.ts';
import { type Candidate, type Chunk, cutIntoChunks, sampleEvenly } from './sampling.ts';

/** A part of one file, in memory. */
export interface Piece {
  /** Where it starts in its file: a multiple of the largest unit size under comparison. */
  readonly offsetBytes: number;
  readonly bytes: Uint8Array;
}

/** Data of one kind, measured and reported as one. */
export interface Sample {
  /** A file's path, or the kind of data. */
  readonly name: string;
  /** What it is, in a few words. */
  readonly description: string;
  readonly fileCount: number;
  /** The size of all its files. `sampledBytes` of them are in `pieces`. */
  readonly sizeBytes: number;
  readonly sampledBytes: number;
  readonly pieces: readonly Piece[];
}

export interface SampleSet {
  readonly samples: readonly Sample[];
  /** For people: what was left out, and why. */
  readonly notes: readonly string[];
}

export interface SampleSettings {
  /** The largest sample, in bytes. */
  readonly capBytes: number;
  /** The largest unit size under comparison. */
  readonly chunkBytes: number;
}

/** The most bytes of all samples together. They are held in memory. */
export const SAMPLES_BYTES_MAX: number = 512 * MIB;
/** When more files than this are named, they are grouped by kind, like the files in folders. */
const NAMED_FILES_MAX = 8;
/**
 * The most kinds of file in folders that get a sample of their own, largest first. Other kinds share one
 * sample.
 */
const FOLDER_KINDS_MAX = 6;
/** How many unreadable paths a note lists by name. */
const NOTE_NAMES_MAX = 3;

/**
 * Reads samples of files and folders. Folders are read recursively; links in them are not followed.
 *
 *   - A named file is a sample of its own. Files in folders are grouped by extension.
 *   - A sample that would exceed the cap is spread evenly over its files.
 *   - Files that cannot be read, are empty or are not ordinary files are skipped, and a note says so.
 *
 * Rejects with EINVAL when a path does not exist or nothing is left to measure, or with the signal's reason.
 */
export async function readSamples(
  paths: readonly string[],
  settings: SampleSettings,
  signal?: AbortSignal,
): Promise<SampleSet> {
  const found = await findFiles(paths, signal);
  const groups = groupFiles(found);
  const capBytes = Math.min(settings.capBytes, Math.floor(SAMPLES_BYTES_MAX / Math.max(1, groups.length)));
  const samples: Sample[] = [];
  for (const group of groups) {
    const sample = await readGroup(group, capBytes, settings.chunkBytes, found.skipped, signal);
    if (sample !== undefined) samples.push(sample);
  }
  const notes = found.skipped.notes();
  requireArgument(
    samples.length > 0,
    `nothing to measure in ${paths.join(', ')}${notes.length > 0 ? `: ${notes.join('; ')}` : ''}`,
  );
  return { samples, notes };
}

/** Collects skipped paths by reason, and makes one note of each reason. */
class Skipped {
  readonly #pathsOf = new Map<string, string[]>();

  add(reason: string, path: string): void {
    const paths = this.#pathsOf.get(reason) ?? [];
    paths.push(path);
    this.#pathsOf.set(reason, paths);
  }

  notes(): string[] {
    return [...this.#pathsOf].map(([reason, paths]) => {
      const more = paths.length > NOTE_NAMES_MAX ? ', ...' : '';
      return `skipped ${formatCount(paths.length, 'path')}, ${reason}: ${paths.slice(0, NOTE_NAMES_MAX).join(', ')}${more}`;
    });
  }
}

interface FoundFiles {
  readonly named: Candidate[];
  readonly inFolders: Candidate[];
  readonly skipped: Skipped;
}

async function findFiles(paths: readonly string[], signal?: AbortSignal): Promise<FoundFiles> {
  const found: FoundFiles = { named: [], inFolders: [], skipped: new Skipped() };
  const seen = new Set<string>();
  for (const path of paths) {
    signal?.throwIfAborted();
    const stats = await statNamed(path);
    const identity = `${stats.dev}:${stats.ino}`;
    if (stats.ino !== 0 && seen.has(identity)) continue;
    seen.add(identity);
    if (stats.isDirectory()) await walk(path, found, signal);
    else addFile(path, stats, found.named, found.skipped);
  }
  return found;
}

async function statNamed(path: string): Promise<Stats> {
  try {
    return await stat(path);
  } catch (error) {
    const missing = systemCodeOf(error) === 'ENOENT' || systemCodeOf(error) === 'ENOTDIR';
    throw missing
      ? new NetsealError('EINVAL', `no such file or folder: ${path}`, { cause: error })
      : new NetsealError('EIO', `cannot look at ${path}: ${messageOf(error)}`, { cause: error });
  }
}

function addFile(path: string, stats: Stats, to: Candidate[], skipped: Skipped): void {
  // Opening a FIFO would wait for a writer, and a device has no end.
  if (!stats.isFile()) skipped.add('not an ordinary file', path);
  else if (stats.size === 0) skipped.add('empty', path);
  else to.push({ path, sizeBytes: stats.size });
}

async function walk(folder: string, found: FoundFiles, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  let entries: Dirent[];
  try {
    entries = await readdir(folder, { withFileTypes: true });
  } catch (error) {
    found.skipped.add(`unreadable (${systemCodeOf(error) ?? messageOf(error)})`, folder);
    return;
  }
  for (const entry of entries.sort((left, right) => (left.name < right.name ? -1 : 1))) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await walk(path, found, signal);
    else if (entry.isSymbolicLink()) found.skipped.add('a symbolic link', path);
    else await addFound(path, found);
  }
}

async function addFound(path: string, found: FoundFiles): Promise<void> {
  try {
    addFile(path, await stat(path), found.inFolders, found.skipped);
  } catch (error) {
    found.skipped.add(`unreadable (${systemCodeOf(error) ?? messageOf(error)})`, path);
  }
}

interface FileGroup {
  readonly name: string;
  readonly files: readonly Candidate[];
}

function groupFiles({ named, inFolders }: FoundFiles): FileGroup[] {
  if (named.length > NAMED_FILES_MAX) return groupByKind([...named, ...inFolders]);
  return [...named.map(file => ({ name: file.path, files: [file] })), ...groupByKind(inFolders)];
}

function groupByKind(files: readonly Candidate[]): FileGroup[] {
  const kinds = [...Map.groupBy(files, kindOf)].sort((left, right) => sizeOf(right[1]) - sizeOf(left[1]));
  const own = kinds.slice(0, FOLDER_KINDS_MAX).map(([name, group]) => ({ name, files: group }));
  const rest = kinds.slice(FOLDER_KINDS_MAX).flatMap(([, group]) => group);
  return rest.length === 0 ? own : [...own, { name: 'other files', files: rest }];
}

/** Returns a file's kind: its extension, such as `.json`, or `no extension`. */
function kindOf({ path }: Candidate): string {
  return extname(path).toLowerCase() || 'no extension';
}

function sizeOf(files: readonly { readonly sizeBytes: number }[]): number {
  return files.reduce((sum, file) => sum + file.sizeBytes, 0);
}

async function readGroup(
  group: FileGroup,
  capBytes: number,
  chunkBytes: number,
  skipped: Skipped,
  signal?: AbortSignal,
): Promise<Sample | undefined> {
  const chosen = sampleEvenly(cutIntoChunks(group.files, chunkBytes), capBytes);
  const pieces: Piece[] = [];
  for (const [path, chunks] of Map.groupBy(chosen, chunk => chunk.path)) {
    signal?.throwIfAborted();
    try {
      pieces.push(...(await readChunks(path, chunks)));
    } catch (error) {
      skipped.add(`unreadable (${systemCodeOf(error) ?? messageOf(error)})`, path);
    }
  }
  if (pieces.length === 0) return undefined;
  const sizeBytes = sizeOf(group.files);
  const sampledBytes = pieces.reduce((sum, piece) => sum + piece.bytes.byteLength, 0);
  const part = sampledBytes < sizeBytes ? `, ${formatSize(sampledBytes)} sampled` : '';
  return {
    name: group.name,
    description: `${formatCount(group.files.length, 'file')}, ${formatSize(sizeBytes)}${part}`,
    fileCount: group.files.length,
    sizeBytes,
    sampledBytes,
    pieces,
  };
}

async function readChunks(path: string, chunks: readonly Chunk[]): Promise<Piece[]> {
  const file = await open(path, 'r');
  try {
    const pieces: Piece[] = [];
    for (const { offsetBytes, lengthBytes } of chunks) {
      const bytes = await readUpTo(file, offsetBytes, lengthBytes);
      if (bytes.byteLength > 0) pieces.push({ offsetBytes, bytes });
    }
    return pieces;
  } finally {
    await file.close();
  }
}

/** Reads `lengthBytes`, or fewer if the file has become shorter since it was found. */
async function readUpTo(file: FileHandle, offsetBytes: number, lengthBytes: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(lengthBytes);
  let filled = 0;
  while (filled < lengthBytes) {
    const { bytesRead } = await file.read(bytes, filled, lengthBytes - filled, offsetBytes + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return bytes.subarray(0, filled);
}
