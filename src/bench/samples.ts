/** Reads samples of the user's files and folders into memory. Only `sample-files.ts` opens them. */
import type { Dirent, Stats } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { messageOf, NetsealError, requireArgument, systemCodeOf } from '../base/errors.ts';
import { MIB } from '../base/geometry.ts';
import { formatCount, formatSize } from './format.ts';
import { findEnd, type Piece, readChunks } from './sample-files.ts';
import { type Candidate, cutIntoChunks, sampleEvenly } from './sampling.ts';

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
 *   - Files are read to their end, whatever size they claim: files below `/proc` claim none, and those of
 *     FUSE file systems may claim any. What is read beyond the claim stays within the cap.
 *   - Files that cannot be read, are empty or are not ordinary files are skipped, and a note says so.
 *
 * Rejects with EINVAL when a path does not exist or nothing is left to measure, or with the signal's reason.
 */
export async function readSamples(
  paths: readonly string[],
  settings: SampleSettings,
  signal?: AbortSignal,
): Promise<SampleSet> {
  const found = await findFiles(paths, settings.capBytes, signal);
  const groups = groupFiles(found);
  const capBytes = Math.min(settings.capBytes, Math.floor(SAMPLES_BYTES_MAX / Math.max(1, groups.length)));
  const samples: Sample[] = [];
  for (const group of groups) {
    const sample = await readGroup(group, { capBytes, chunkBytes: settings.chunkBytes }, found, signal);
    if (sample !== undefined) samples.push(sample);
  }
  const notes = [...found.skipped.notes(), ...cutNotes(found.cut)];
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
      return `skipped ${formatCount(paths.length, 'path')}, ${reason}: ${firstPaths(paths)}`;
    });
  }
}

function firstPaths(paths: readonly string[]): string {
  return `${paths.slice(0, NOTE_NAMES_MAX).join(', ')}${paths.length > NOTE_NAMES_MAX ? ', ...' : ''}`;
}

interface FoundFiles {
  readonly named: Candidate[];
  readonly inFolders: Candidate[];
  readonly skipped: Skipped;
  /** Files that claim a smaller size than they have, and were read up to the cap only. */
  readonly cut: string[];
  readonly capBytes: number;
}

function cutNotes(cut: readonly string[]): string[] {
  if (cut.length === 0) return [];
  return [
    `${formatCount(cut.length, 'file')} longer than claimed, measured up to --sample and counted as that long: ${firstPaths(cut)}`,
  ];
}

async function findFiles(
  paths: readonly string[],
  capBytes: number,
  signal?: AbortSignal,
): Promise<FoundFiles> {
  const found: FoundFiles = { named: [], inFolders: [], skipped: new Skipped(), cut: [], capBytes };
  const seen = new Set<string>();
  for (const path of paths) {
    signal?.throwIfAborted();
    const stats = await statNamed(path);
    const identity = `${stats.dev}:${stats.ino}`;
    if (stats.ino !== 0 && seen.has(identity)) continue;
    seen.add(identity);
    if (stats.isDirectory()) await walk(path, found, signal);
    else await addFile(path, stats, found.named, found, signal);
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

async function addFile(
  path: string,
  stats: Stats,
  to: Candidate[],
  found: FoundFiles,
  signal?: AbortSignal,
): Promise<void> {
  // Opening a FIFO would wait for a writer, and a device has no end.
  if (!stats.isFile()) {
    found.skipped.add('not an ordinary file', path);
    return;
  }
  try {
    const sizeBytes = stats.size || (await findEnd(path, found.capBytes, signal));
    if (sizeBytes === 0) found.skipped.add('empty', path);
    else to.push({ path, sizeBytes: Math.min(sizeBytes, Math.max(stats.size, found.capBytes)) });
    if (stats.size === 0 && sizeBytes > found.capBytes) found.cut.push(path);
  } catch (error) {
    signal?.throwIfAborted();
    found.skipped.add(`unreadable (${systemCodeOf(error) ?? messageOf(error)})`, path);
  }
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
    else await addFound(path, found, signal);
  }
}

async function addFound(path: string, found: FoundFiles, signal?: AbortSignal): Promise<void> {
  let stats: Stats;
  try {
    stats = await stat(path);
  } catch (error) {
    found.skipped.add(`unreadable (${systemCodeOf(error) ?? messageOf(error)})`, path);
    return;
  }
  await addFile(path, stats, found.inFolders, found, signal);
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
  { capBytes, chunkBytes }: SampleSettings,
  found: FoundFiles,
  signal?: AbortSignal,
): Promise<Sample | undefined> {
  const chosen = sampleEvenly(cutIntoChunks(group.files, chunkBytes), capBytes);
  const claimed = new Map(group.files.map(({ path, sizeBytes }) => [path, sizeBytes]));
  const pieces: Piece[] = [];
  let sizeBytes = sizeOf(group.files);
  let roomBytes = Math.max(0, capBytes - chosen.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0));
  for (const [path, chunks] of Map.groupBy(chosen, chunk => chunk.path)) {
    signal?.throwIfAborted();
    const claimedBytes = claimed.get(path) ?? 0;
    try {
      const read = await readChunks(path, { chunks, claimedBytes, chunkBytes, roomBytes }, signal);
      pieces.push(...read.pieces);
      if (read.pieces.length === 0) found.skipped.add('empty', path);
      if (read.isCut) found.cut.push(path);
      sizeBytes += read.sizeBytes - claimedBytes;
      roomBytes -= Math.max(0, read.sizeBytes - claimedBytes);
    } catch (error) {
      signal?.throwIfAborted();
      found.skipped.add(`unreadable (${systemCodeOf(error) ?? messageOf(error)})`, path);
    }
  }
  if (pieces.length === 0) return undefined;
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
