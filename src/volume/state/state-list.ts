/** Lists what a state folder remembers of each store, and forgets a store. */
import { readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { toHex } from '../../base/bytes.ts';
import { NetsealError, systemCodeOf } from '../../base/errors.ts';
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

/** Returns what the folder remembers, ordered by store. An empty list when there is no such folder. */
export async function listRemembered(folder: string): Promise<RememberedStore[]> {
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
  return await describe(folder, stateFolderName(storeName));
}

/**
 * Forgets a store: the next visit counts as the first. Its folder vanishes as a whole. EUNAVAILABLE when
 * another process is writing to it.
 *
 * @param name as in {@link RememberedStore.name}.
 */
export async function forgetRemembered(folder: string, name: string): Promise<void> {
  const path = `${folder}/${name}`;
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
  } finally {
    lock.close();
  }
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
