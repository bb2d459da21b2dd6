/** Makes and opens volumes, each in one call. Programs start here. */
import { requireInstance, requireObject } from '../base/arguments.ts';
import type { NewSlot } from '../keys/new-slot.ts';
import { pinOf } from '../keys/pin.ts';
import { listSecrets } from '../keys/secret.ts';
import { createVolumeHeader, type HeaderOptions } from '../keys/unlock.ts';
import { openPipeline, Pipeline } from '../pipeline/pipeline.ts';
import type { Attributes } from '../server/sealed/inode.ts';
import { type ObjectStore, requireStore } from '../server/store.ts';
import { createHeaderObject, type SecretSource, unlockHeaderObject } from './header-object.ts';
import { toGivenAttributes, toNewAttributes } from './names/argument-checks.ts';
import { newAttributes } from './new-attributes.ts';
import { createRoot } from './root.ts';
import { type ChosenSettings, checkVolumeSettings, encodeSettings } from './session/volume-settings.ts';
import { type ClientState, memoryState, requireState } from './state/client-state.ts';
import { Volume } from './volume.ts';
import { checkSessionOptions, type OpenVolumeOptions } from './volume-options.ts';

const ROOT_MODE = 0o755;

export interface CreateVolumeOptions extends HeaderOptions {
  readonly store: ObjectStore;
  /** 1 to 16 ways into the volume. */
  readonly slots: readonly NewSlot[];
  /** Default: units of 256 KiB, `padme`, zstd:1, xaes-256-gcm, `flat` keys. */
  readonly settings?: ChosenSettings;
  /** Attributes of the root folder. Default: mode 0o755, this process's user and group, now. */
  readonly attributes?: Partial<Attributes>;
  /** Remembers the new volume, so that a server cannot put another one in its place unnoticed. */
  readonly state?: ClientState;
}

/**
 * Makes an empty volume. A crash leaves a whole volume or none.
 *
 * Rejects with EEXIST when the store holds a volume, EINVAL when a slot or a setting is wrong, and what the
 * store throws.
 */
export async function createVolume(options: CreateVolumeOptions): Promise<void> {
  requireObject('options', options);
  const { store, slots, state, attributes, settings, ...headerOptions } = options;
  requireStore('options.store', store);
  if (state !== undefined) requireState('options.state', state);
  if (settings !== undefined) requireObject('options.settings', settings);
  const rootAttributes = toNewAttributes('options.attributes', {
    ...newAttributes(ROOT_MODE),
    ...toGivenAttributes('options.attributes', attributes === undefined ? {} : attributes),
  });
  const encoded = encodeSettings(checkVolumeSettings(settings));
  const header = await createVolumeHeader({ ...headerOptions, slots, settings: encoded });
  try {
    await createRoot(store, header, rootAttributes);
    await createHeaderObject(store, header);
    await state?.savePin(pinOf(header));
  } finally {
    header.keyring.destroy();
  }
}

export interface OpenOptions extends Omit<OpenVolumeOptions, 'header' | 'pipeline' | 'state'> {
  /** Secrets that may open a slot. A function is called once, after the header was found. */
  readonly secrets: SecretSource;
  /** Default: a pipeline of its own, which is closed with the volume. */
  readonly pipeline?: Pipeline;
  /**
   * What this client remembers between sessions. It stays the caller's. Default: nothing; then a server could
   * show an older volume unnoticed.
   */
  readonly state?: ClientState;
}

/**
 * Opens the volume in a store. Closing the volume (`close`, or `await using`) syncs it, ends its threads and
 * zeroes its keys. The store stays the caller's.
 *
 * | rejects with                            | when                                                  |
 * | --------------------------------------- | ----------------------------------------------------- |
 * | ENOENT                                  | the store holds no volume                             |
 * | EKEY                                    | no secret opens it                                    |
 * | EROLLBACK                               | the header is older than one that `state` remembers   |
 * | EUNSUPPORTED                            | a newer netseal made it, or the store cannot hold one |
 * | EFORMAT, EAUTH, what the store throws   | the header is damaged, or cannot be read              |
 */
export async function openVolume(options: OpenOptions): Promise<Volume> {
  checkSessionOptions(options);
  const { secrets, state = memoryState(), pipeline: given, ...rest } = options;
  requireState('options.state', state);
  if (given !== undefined) requireInstance('options.pipeline', given, Pipeline);
  if (typeof secrets !== 'function') listSecrets(secrets);
  const header = await unlockHeaderObject(rest.store, secrets, state);
  let pipeline = given;
  const release = async (): Promise<void> => {
    header.keyring.destroy();
    if (given === undefined) await pipeline?.close();
  };
  try {
    pipeline ??= await openPipeline();
    return await Volume.open({ ...rest, header, state, pipeline, onClosed: release });
  } catch (error) {
    await release();
    throw error;
  }
}
