/** The root directory of a new volume. */
import { codeOf, NetsealError } from '../base/errors.ts';
import { randomId } from '../base/ids.ts';
import type { VolumeHeader } from '../keys/volume-header.ts';
import { ControlSealer } from '../server/sealed/control.ts';
import type { Attributes, DirectoryInode } from '../server/sealed/inode.ts';
import { putInodeObject } from '../server/sealed/inode-object.ts';
import { EMPTY_NAMES } from '../server/sealed/name-tree.ts';
import { withKeyScheme } from '../server/sealed/spread-keys.ts';
import type { ObjectStore } from '../server/store.ts';
import { decodeSettings } from './session/volume-settings.ts';

/**
 * Puts the root directory of a new volume into the store. Call it before the header is stored, so that a
 * crash leaves a whole volume or none. Rejects with EEXIST when the store has this root, and with what the
 * store throws.
 */
export async function createRoot(
  store: ObjectStore,
  header: VolumeHeader,
  attributes: Attributes,
  nowMs: () => number = Date.now,
): Promise<void> {
  const { rootId, suite, codec, keys } = decodeSettings(header.settings);
  const control = await ControlSealer.create(header.keyring, { suite, codec });
  try {
    const time = BigInt(Math.trunc(nowMs())) * 1_000_000n;
    const inode: DirectoryInode = {
      ...attributes,
      id: rootId,
      type: 'directory',
      version: 1,
      dataVersion: 0,
      ctimeNs: time,
      birthNs: time,
      parent: rootId,
      entryCount: 0,
      subdirectoryCount: 0,
      isDead: false,
      arrivals: [],
      nextIndex: 0,
      tree: EMPTY_NAMES,
    };
    const object = { inode, writers: [{ version: 1, nonce: randomId() }], predecessor: undefined };
    const sealing = { store: withKeyScheme(store, keys), control };
    await putInodeObject(sealing, rootId, object, { ifAbsent: true });
  } catch (cause) {
    if (codeOf(cause) !== 'ECONFLICT') throw cause;
    throw new NetsealError('EEXIST', 'the store has this root already', { cause });
  } finally {
    control.destroy();
  }
}
