/** Lists what a state folder remembers of each store, and forgets a store. */
import { readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { requireText } from '../../base/arguments.ts';
import { toHex } from '../../base/bytes.ts';
import { NetsealError, requireArgument, systemCodeOf } from '../../base/errors.ts';
import { randomBytes } from '../../base/random.ts';
import { createLockFile, FileLock } from '../../server/file-lock.ts';
import { MARK_BYTES } from './marks.ts';
import { stateFolderName } from './state-folder.ts';

/** What is remembered of one store. */
export interface RememberedStore {
  /** The name of its folder within the state folder. */
  readonly name: string;
  /**
   * The store's canonical name. Undefined, like everything about the header, when no header was seen or its
   * pin is damaged.
   */
  readonly store: string | undefined;
  readonly volumeId: string | undefined;
  readonly generation: number | undefined;
  /** Entries in the log of marks: of folders, files and heads. */
  readonly marks: number;
  /** Journals of large files whose put or get was interrupted, or is under way. */
  readonly journals: number;
  /** When something was remembered last; ms since 1970, this machine's clock. */
  readonly changedAtMs: number;
}

const FOLDER_NAME = /^[0-9a-f]{64}$/;

/**
 * Returns what a state folder remembers, ordered by store. An empty list when there is no such folder. The
 * system's errors.
 */
export async function listState(folder: string): Promise<RememberedStore[]> {
  checkFolder(folder);
  const names = (await namesIn(folder)).filter(name => FOLDER_NAME.test(name));
  const all = await Promise.all(names.map(name => describe(folder, name)));
  const found = all.filter(item => item !== undefined);
  return found.sort((left, right) => ((left.store ?? left.name) < (right.store ?? right.name) ? -1 : 1));
}

/** Returns what the folder remembers of the store of this canonical name; undefined for nothing. */
export async function findRemembered(
  folder: string,
  storeName: string,
): Promise<RememberedStore | undefined> {
  checkFolder(folder);
  requireText('storeName', storeName);
  return await describe(folder, stateFolderName(storeName));
}

/**
 * Forgets a store, as after it was restored from a backup: the next visit counts as the first. Its folder
 * vanishes as a whole. Returns what was remembered; undefined when that was nothing. EUNAVAILABLE when
 * another process is writing to it.
 *
 * @param storeName the store's canonical name, as `openStateFolder` takes it.
 */
export async function forgetState(folder: string, storeName: string): Promise<RememberedStore | undefined> {
  const known = await findRemembered(folder, storeName);
  if (known === undefined) return undefined;
  const path = `${folder}/${known.name}`;
  const random = toHex(randomBytes(16));
  createLockFile(`${path}/lock`, `${path}/lock-${random}`);
  const lock = new FileLock(`${path}/lock`);
  try {
    if (!lock.tryAcquire()) {
      throw new NetsealError('EUNAVAILABLE', `another process uses the state, try again: ${path}`);
    }
    const doomed = `${path}.${random}.forgotten`;
    await rename(path, doomed);
    await rm(doomed, { recursive: true, force: true });
    return known;
  } finally {
    lock.close();
  }
}

function checkFolder(folder: string): void {
  requireText('folder', folder);
  requireArgument(folder !== '' && !folder.includes('\0'), 'a state folder needs a path');
}

async function describe(folder: string, name: string): Promise<RememberedStore | undefined> {
  const path = `${folder}/${name}`;
  const names = await namesIn(path);
  if (names.length === 0 && (await timeOf(path)) === undefined) return undefined;
  const { store, volumeId, generation } = await readPinFields(path);
  const times = [await timeOf(path), await timeOf(`${path}/pin.json`)];
  let marksBytes = 0;
  let journals = 0;
  for (const below of names.filter(each => each !== 'lock' && !each.includes('.'))) {
    const log = await stat(`${path}/${below}/marks`).catch(absent);
    marksBytes += log?.size ?? 0;
    journals += (await namesIn(`${path}/${below}/journals`)).length;
    times.push(log?.mtimeMs, await timeOf(`${path}/${below}/heads.json`));
  }
  const changedAtMs = Math.max(0, ...times.filter(time => time !== undefined));
  const marks = Math.floor(marksBytes / MARK_BYTES);
  return { name, store, volumeId, generation, marks, journals, changedAtMs };
}

interface PinFields {
  readonly store: string | undefined;
  readonly volumeId: string | undefined;
  readonly generation: number | undefined;
}

async function readPinFields(path: string): Promise<PinFields> {
  const fields: Record<string, unknown> = {};
  const text = await readFile(`${path}/pin.json`, 'utf8').catch(absent);
  try {
    Object.assign(fields, JSON.parse(text ?? '{}'));
  } catch (error) {
    // The pin is damaged, so the store is listed without its name. `forget` finds it by its name even so.
    if (!(error instanceof SyntaxError)) throw error;
  }
  const { store, volumeId, generation } = fields;
  return {
    store: typeof store === 'string' ? store : undefined,
    volumeId: typeof volumeId === 'string' ? volumeId : undefined,
    generation: typeof generation === 'number' ? generation : undefined,
  };
}

async function namesIn(path: string): Promise<string[]> {
  return (await readdir(path).catch(absent)) ?? [];
}

async function timeOf(path: string): Promise<number | undefined> {
  return (await stat(path).catch(absent))?.mtimeMs;
}

/** Returns undefined for the error that something is not there. Throws any other error. */
function absent(error: unknown): undefined {
  const code = systemCodeOf(error);
  if (code !== 'ENOENT' && code !== 'ENOTDIR') throw error;
}
