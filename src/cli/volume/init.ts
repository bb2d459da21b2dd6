/** `netseal init`: makes a volume in a store. */
import { Command } from 'commander';
import { isNetsealError, NetsealError } from '../../base/errors.ts';
import { pinOf } from '../../keys/pin.ts';
import { createVolumeHeader } from '../../keys/unlock.ts';
import type { VolumeHeader } from '../../keys/volume-header.ts';
import {
  HEADER_KEY,
  inodeKey,
  KEY_SCHEME_DEFAULT,
  parseKeyScheme,
  storedKey,
} from '../../server/sealed/object-keys.ts';
import type { ObjectStore } from '../../server/store.ts';
import { formatCodec } from '../../unit/codec.ts';
import { createHeaderObject, readHeaderObject } from '../../volume/header-object.ts';
import { newAttributes } from '../../volume/new-attributes.ts';
import { createRoot } from '../../volume/root.ts';
import {
  checkVolumeSettings,
  decodeSettings,
  encodeSettings,
  PACK_BYTES_DEFAULT,
  type VolumeSettings,
} from '../../volume/session/volume-settings.ts';
import { type Frame, inFrame } from '../lib/frame.ts';
import { jsonDocument } from '../lib/json.ts';
import { loadProbe } from '../lib/lazy.ts';
import { resultWithWarning } from '../lib/notes.ts';
import { readNewSlot } from '../lib/secrets.ts';
import { formatPadding, formatSize } from '../lib/sizes.ts';
import { readUnitOptions, type UnitOptions, withUnitOptions } from '../lib/unit-options.ts';
import { sizeOption } from '../lib/value-options.ts';
import { type Location, parseLocation } from './location.ts';
import { type StoreAccess, withStore } from './opening.ts';
import { stateFolder, type VolumeOptions, withVolumeOptions } from './options.ts';
import { withRemote } from './remotes.ts';
import { orUndo } from './undo-init.ts';

interface InitOptions extends VolumeOptions, UnitOptions {
  readonly label?: string;
  readonly keys: string;
  readonly pack: number;
}

const ROOT_MODE = 0o755;

/** `netseal init STORE` */
export function command(): Command {
  const initCommand = new Command('init')
    .description('Make an empty volume in a store, and the store if there is none.')
    .argument('<store>', 'a folder, or a URL')
    .addOption(
      sizeOption(
        '--pack <size>',
        'compress and encrypt small files together, up to this size, 4KiB to 1MiB; 0 for none',
      ).default(PACK_BYTES_DEFAULT, formatSize(PACK_BYTES_DEFAULT)),
    )
    .option('--label <text>', "name for the first slot (default: its secret's type)")
    .option(
      '--keys <scheme>',
      'how the store has objects: flat, or hex2 for 256 folders of them',
      KEY_SCHEME_DEFAULT,
    );
  return withVolumeOptions(withUnitOptions(initCommand)).action(init);
}

function init(text: string, options: InitOptions): Promise<void> {
  const location = parseLocation(text);
  if (location.path !== undefined && location.path !== '/') {
    throw new NetsealError('EINVAL', `a volume fills a whole store: name only the store, not ${text}`);
  }
  const units = readUnitOptions(options);
  const keys = parseKeyScheme(options.keys);
  const settings = checkVolumeSettings({ ...units, packBytes: options.pack, keys });
  return inFrame(frame =>
    orUndo(location.storeText, stateFolder(options), () => make(location, options, settings, frame)),
  );
}

/** Makes the volume, and reports it. */
async function make(
  location: Location,
  options: InitOptions,
  settings: VolumeSettings,
  { signal, report }: Frame,
): Promise<void> {
  await withStore(location, { ...options, create: true }, signal, async access => {
    await requireNoVolume(access.store, signal);
    if (access.store.localFolder === undefined) await requireConditions(access.store, signal);
    const slot = await readNewSlot(withRemote(location.storeText, options), signal, options.label);
    const header = await createVolumeHeader({ slots: [slot], settings: encodeSettings(settings) });
    try {
      await makeVolume(access, header, signal);
      const json = options.json === true;
      const result = (): string => describe(location.storeText, header, settings, json);
      resultWithWarning(
        json,
        report,
        result,
        'keep the secret safe: without it nobody can read this volume, and netseal cannot help',
      );
    } finally {
      header.keyring.destroy();
    }
  });
}

/** Fails when the store holds a volume, before a passphrase is asked for. EEXIST. */
async function requireNoVolume(store: ObjectStore, signal: AbortSignal): Promise<void> {
  try {
    await readHeaderObject(store, { signal });
  } catch (error) {
    if (isNetsealError(error) && error.code === 'ENOENT') return;
    // Something else is in the way, and `init` replaces nothing.
    throw error;
  }
  throw new NetsealError(
    'EEXIST',
    `${store.name} already holds a volume: name another store to make a new one`,
  );
}

/**
 * Tries whether a store elsewhere does what it declares: a server that ignores conditions would let one
 * client overwrite what another has just committed. EUNSUPPORTED when it does not.
 */
async function requireConditions(store: ObjectStore, signal: AbortSignal): Promise<void> {
  const { probeStore, isSafeForWriters } = await loadProbe();
  if (isSafeForWriters(await probeStore(store, { rounds: 1, largeBytes: 0, signal }))) return;
  throw new NetsealError(
    'EUNSUPPORTED',
    `${store.name} is not safe for a volume: "netseal probe" tells what it does wrong`,
  );
}

/**
 * Makes the root folder, then the header, and remembers it. Before the header there is no volume. What a
 * crash leaves behind until then does no harm, and what a failure leaves behind is deleted.
 */
async function makeVolume(
  { store, state }: StoreAccess,
  header: VolumeHeader,
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted();
  const made: string[] = [];
  try {
    const { rootId, keys } = decodeSettings(header.settings);
    made.push(storedKey(inodeKey(rootId), keys));
    await createRoot(store, header, newAttributes(ROOT_MODE));
    await createHeaderObject(store, header, { signal });
    made.push(HEADER_KEY);
    await state.savePin(pinOf(header));
  } catch (error) {
    // The header was made last, so it is deleted first: without it, the rest cannot be opened.
    for (const key of made.reverse()) await store.delete(key).catch(() => undefined);
    throw error;
  }
}

function describe(
  storeText: string,
  header: VolumeHeader,
  settings: VolumeSettings,
  asJson: boolean,
): string {
  const { volumeId, slots } = header;
  const { unitSizeBytes, padding, packBytes, suite: cipher, keys } = settings;
  const codec = formatCodec(settings.codec);
  const [{ id, type, label } = { id: '', type: '', label: '' }] = slots;
  if (asJson) {
    const slot = { id, type, label };
    const chosen = { unitSizeBytes, padding, packBytes, codec, cipher, keys };
    return jsonDocument({ store: storeText, volumeId, ...chosen, slot });
  }
  return [
    `made volume ${volumeId} in ${storeText}`,
    `  units   ${formatSize(unitSizeBytes)}, ${formatPadding(padding)}, ${codec}, ${cipher}`,
    `  packs   ${packBytes === 0 ? 'none' : `of small files, up to ${formatSize(packBytes)}`}`,
    ...(keys === KEY_SCHEME_DEFAULT ? [] : [`  keys    ${keys}`]),
    `  slot    ${id}, ${type}, "${label}"`,
    '',
  ].join('\n');
}
