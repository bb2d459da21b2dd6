/** `netseal init`: makes a volume in a store. */
import { Command } from 'commander';
import { isNetsealError, NetsealError } from '../../base/errors.ts';
import { pinOf } from '../../keys/pin.ts';
import { createVolumeHeader } from '../../keys/unlock.ts';
import type { VolumeHeader } from '../../keys/volume-header.ts';
import type { ObjectStore } from '../../server/store.ts';
import { formatCodec } from '../../unit/codec.ts';
import { createHeaderObject, readHeaderObject } from '../../volume/header-object.ts';
import {
  checkVolumeSettings,
  encodeSettings,
  type VolumeSettings,
} from '../../volume/session/volume-settings.ts';
import { createRoot } from '../../volume/volume.ts';
import { withInterrupt } from '../lib/interrupt.ts';
import { readNewSlot } from '../lib/secrets.ts';
import { formatSize } from '../lib/sizes.ts';
import { readUnitOptions, type UnitOptions, withUnitOptions } from '../lib/unit-options.ts';
import { type StoreAccess, type VolumeOptions, withStore, withVolumeOptions } from './access.ts';
import { newAttributes } from './attributes.ts';
import { parseLocation } from './location.ts';

interface InitOptions extends VolumeOptions, UnitOptions {
  readonly label?: string;
}

const ROOT_MODE = 0o755;

/** `netseal init STORE` */
export function initCommand(): Command {
  const command = new Command('init')
    .description('Make an empty volume in a store, and the store if there is none.')
    .argument('<store>', 'a folder, or a file:// URL')
    .option('--label <text>', "what to know the first slot by (default: its secret's type)");
  return withVolumeOptions(withUnitOptions(command)).action(init);
}

function init(text: string, options: InitOptions): Promise<void> {
  const location = parseLocation(text);
  if (location.path !== undefined && location.path !== '/') {
    throw new NetsealError('EINVAL', `a volume is made in a whole store, not at ${location.path} in one`);
  }
  const settings = checkVolumeSettings(readUnitOptions(options));
  return withInterrupt(signal =>
    withStore(location, { ...options, create: true }, signal, async access => {
      await requireNoVolume(access.store, signal);
      const slot = await readNewSlot(options, signal, options.label);
      const header = await createVolumeHeader({ slots: [slot], settings: encodeSettings(settings) });
      try {
        await makeVolume(access, header, signal);
        process.stdout.write(describe(location.storeText, header, settings, options.json === true));
        process.stderr.write(
          'netseal: keep the secret safe: without it nobody can read anything in this volume, netseal neither\n',
        );
      } finally {
        header.keyring.destroy();
      }
    }),
  );
}

/** Told before a passphrase is asked for. */
async function requireNoVolume(store: ObjectStore, signal: AbortSignal): Promise<void> {
  try {
    await readHeaderObject(store, { signal });
  } catch (error) {
    if (isNetsealError(error) && error.code === 'ENOENT') return;
    // Whatever it is, it is in the way, and `init` replaces nothing.
    throw error;
  }
  throw new NetsealError('EEXIST', `there is a volume already: ${store.name}`);
}

/** The header comes last: until it is there, there is no volume, and what a crash leaves behind is in nobody's way. */
async function makeVolume(
  { store, state }: StoreAccess,
  header: VolumeHeader,
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted();
  await createRoot(store, header, newAttributes(ROOT_MODE));
  await createHeaderObject(store, header, { signal });
  await state.savePin(pinOf(header));
}

function describe(
  storeText: string,
  header: VolumeHeader,
  settings: VolumeSettings,
  asJson: boolean,
): string {
  const { volumeId, slots } = header;
  const { unitSizeBytes, blockSizeBytes, suite: cipher } = settings;
  const codec = formatCodec(settings.codec);
  const [{ id, type, label } = { id: '', type: '', label: '' }] = slots;
  if (asJson) {
    const slot = { id, type, label };
    return `${JSON.stringify({ store: storeText, volumeId, unitSizeBytes, blockSizeBytes, codec, cipher, slot }, null, 2)}\n`;
  }
  return [
    `made volume ${volumeId} in ${storeText}`,
    `  units   ${formatSize(unitSizeBytes)}, padded to ${formatSize(blockSizeBytes)}, ${codec}, ${cipher}`,
    `  slot    ${id}, ${type}, "${label}"`,
    '',
  ].join('\n');
}
