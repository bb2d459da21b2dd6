/**
 * Removes what a failed `init` made on this machine: the folder of a store that holds nothing, and the state
 * folder of a store that nothing is remembered of.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf } from '../../base/errors.ts';
import { loadStore } from '../lib/lazy.ts';
import { missingFolders, namesIn, removeEmptyTree, removeFolders } from '../lib/undo-folders.ts';
import { canonicalStoreName, localStorePath } from './location.ts';

/**
 * Runs `work`, which makes a volume. After a failure takes back the folders that were not there before.
 *
 * @param state the folder with what this client remembers of all stores.
 */
export async function orUndo(storeText: string, state: string, work: () => Promise<void>): Promise<void> {
  // What a failed init has put into a store elsewhere stays: it cannot be told from what was there.
  const store = localStorePath(storeText);
  const hadNames = store !== undefined && (await namesIn(store)).length > 0;
  const missing = store === undefined ? [] : await missingFolders(store);
  const missingState = await missingFolders(state);
  const statesBefore = await namesIn(state);
  try {
    await work();
  } catch (error) {
    // Another process is making a volume here, so nothing is removed.
    if (codeOf(error) === 'EEXIST') throw error;
    const ofStore = await stateOf(state, storeText);
    if (store !== undefined && !hadNames && (await removeEmptyTree(join(store, 'objects')))) {
      await removeEmptyTree(join(store, 'partial'));
      await rm(join(store, 'lock'), { force: true });
      await removeFolders(missing);
    }
    if (ofStore !== undefined && !statesBefore.includes(ofStore)) await removeState(join(state, ofStore));
    await removeFolders(missingState);
    throw error;
  }
}

/** Returns the name of the store's own folder in the state folder; undefined when there is no store. */
async function stateOf(state: string, storeText: string): Promise<string | undefined> {
  const { stateFolderName } = await loadStore();
  const name = await canonicalStoreName(storeText).catch(() => undefined);
  return name === undefined || state === '' ? undefined : stateFolderName(name);
}

/** Removes the state folder of a store, if there is no pin in it. */
async function removeState(folder: string): Promise<void> {
  const names = await namesIn(folder);
  if (!names.every(name => name === 'pin.json.new' || name === 'lock' || name.startsWith('lock-'))) return;
  for (const name of names) await rm(join(folder, name), { force: true });
  await removeFolders([folder]);
}
