/**
 * The settings that a volume is made with. They lie in the volume header's sealed `settings`, as JSON in
 * UTF-8:
 *
 *   {"layout":2,"rootId":"<32 hex>","unitSizeBytes":262144,
 *    "padding":"padme","packBytes":131072,"codec":"zstd:1","suite":"xaes-256-gcm",
 *    "marksKey":"<64 hex>","keys":"flat"}
 *
 * Unit size, codec and suite are those of new files; every record names its own. No reader needs the padding,
 * which is `padme`, `none` or a size in bytes. A newer netseal may add
 *
 *   "requires":["..."]          features without which nobody may read the volume
 *   "requiresToWrite":["..."]   features without which nobody may change anything in the store
 *   any other field             it is kept when the settings are written again
 */

import { isUtf8 } from 'node:buffer';
import { requireObject, shownValue } from '../../base/arguments.ts';
import { toHex, utf8 } from '../../base/bytes.ts';
import { messageOf, NetsealError, requireArgument } from '../../base/errors.ts';
import { KIB, UNIT_BYTES_DEFAULT, unitSizeToLog2 } from '../../base/geometry.ts';
import { checkId, type Id, randomId } from '../../base/ids.ts';
import { randomBytes } from '../../base/random.ts';
import { KEY_BYTES } from '../../keys/tree.ts';
import { LAYOUT_VERSION, requireLayout } from '../../server/sealed/node-frame.ts';
import { KEY_SCHEME_DEFAULT, type KeyScheme, parseKeyScheme } from '../../server/sealed/object-keys.ts';
import { CODEC_DEFAULT, type CodecSetting, checkCodec, formatCodec, parseCodec } from '../../unit/codec.ts';
import { checkPadding, PADDING_DEFAULT, type Padding } from '../../unit/padding.ts';
import { PACK_BYTES_MAX, parseSuite, SUITE_DEFAULT, type SuiteName } from '../../unit/record-format.ts';

export interface VolumeSettings {
  /** The root directory's inode. */
  readonly rootId: Id;
  readonly unitSizeBytes: number;
  readonly padding: Padding;
  /** How much of small files is compressed and encrypted together: 4 KiB to 1 MiB; 0 for none. */
  readonly packBytes: number;
  readonly codec: CodecSetting;
  readonly suite: SuiteName;
  /**
   * The key that authenticates the marks of every client, in hexadecimal: random, and the same in all epochs.
   * Were it derived from an epoch's key, that epoch could never be dropped.
   */
  readonly marksKey: string;
  /** Under which keys the store has segments and inode objects. Fixed when the volume is made. */
  readonly keys: KeyScheme;
  /** The names of features that this netseal lacks, and without which the volume can only be read. */
  readonly missingToWrite?: readonly string[] | undefined;
  /** Fields that this netseal does not know, as JSON values. */
  readonly others?: Readonly<Record<string, unknown>> | undefined;
}

/** The settings that callers choose. The others are random. */
export type ChosenSettings = Partial<
  Omit<VolumeSettings, 'rootId' | 'marksKey' | 'missingToWrite' | 'others'>
>;

const MARKS_KEY_PATTERN = /^[0-9a-f]{64}$/;
/** The features that this netseal has, besides all that the layout has had from its first version on. */
const FEATURES: ReadonlySet<string> = new Set();

/** Larger packs compress a little better, but make a read of a single file larger. */
export const PACK_BYTES_DEFAULT: number = 128 * KIB;
/** A smaller pack would hold hardly two files. */
const PACK_BYTES_MIN: number = 4 * KIB;

/** Throws EINVAL unless packs can have this size; 0 is for none. */
export function checkPackBytes(packBytes: number): void {
  const isPossible =
    packBytes === 0 ||
    (Number.isInteger(packBytes) && packBytes >= PACK_BYTES_MIN && packBytes <= PACK_BYTES_MAX);
  requireArgument(isPossible, `packs have 4 KiB to 1 MiB, or 0 for none, not ${shownValue(packBytes)}`);
}

/**
 * Fills in defaults: a random root and key for marks, units of 256 KiB, padme, packs of 128 KiB, zstd:1,
 * xaes-256-gcm, flat keys. EINVAL for a
 * wrong value.
 */
export function checkVolumeSettings(partial: Partial<VolumeSettings> = {}): VolumeSettings {
  requireObject('settings', partial);
  const {
    rootId = randomId(),
    unitSizeBytes = UNIT_BYTES_DEFAULT,
    padding = PADDING_DEFAULT,
    packBytes = PACK_BYTES_DEFAULT,
    codec = CODEC_DEFAULT,
    suite = SUITE_DEFAULT,
    marksKey = toHex(randomBytes(KEY_BYTES)),
    keys = KEY_SCHEME_DEFAULT,
    missingToWrite = [],
    others = {},
  } = partial;
  const settings = {
    ...{ rootId, unitSizeBytes, padding, packBytes },
    codec: parseCodec(formatCodec(codec)),
    suite: parseSuite(suite),
    marksKey,
    keys: parseKeyScheme(keys),
    ...(missingToWrite.length === 0 ? {} : { missingToWrite }),
    ...(Object.keys(others).length === 0 ? {} : { others }),
  };
  requireArgument(typeof marksKey === 'string' && MARKS_KEY_PATTERN.test(marksKey), 'not a key for marks');
  checkId(settings.rootId);
  unitSizeToLog2(settings.unitSizeBytes);
  checkPadding(settings.padding, settings.unitSizeBytes);
  checkPackBytes(settings.packBytes);
  checkCodec(settings.codec);
  return settings;
}

/** Encodes settings for `createVolumeHeader` and `withSettings`: some 250 bytes. EINVAL for a wrong value. */
export function encodeSettings(settings: VolumeSettings): Uint8Array<ArrayBuffer> {
  const { codec, missingToWrite: _, others, ...rest } = checkVolumeSettings(settings);
  return utf8(JSON.stringify({ layout: LAYOUT_VERSION, ...rest, codec: formatCodec(codec), ...others }));
}

/**
 * Decodes settings. EFORMAT when these are not the settings of a volume; EUNSUPPORTED for another layout, or
 * for a volume that requires a feature which this netseal lacks.
 */
export function decodeSettings(bytes: Uint8Array): VolumeSettings {
  const { layout, rootId, unitSizeBytes, padding, packBytes, codec, suite, marksKey, keys, ...others } =
    parseFields(bytes);
  if (typeof layout !== 'number' || !Number.isSafeInteger(layout) || layout < 1) throw malformed('no layout');
  requireLayout('volume settings', layout);
  const missing = missingFeatures('requires', others.requires);
  if (missing.length > 0) {
    const features = missing.map(shownValue).join(', ');
    throw new NetsealError('EUNSUPPORTED', `the volume requires ${features}: use a newer netseal`);
  }
  const missingToWrite = missingFeatures('requiresToWrite', others.requiresToWrite);
  if (typeof rootId !== 'string') throw malformed('no rootId');
  if (typeof unitSizeBytes !== 'number') throw malformed('no unitSizeBytes');
  if (padding !== 'padme' && padding !== 'none' && typeof padding !== 'number') throw malformed('no padding');
  if (typeof packBytes !== 'number') throw malformed('no packBytes');
  if (typeof codec !== 'string') throw malformed('no codec');
  if (typeof suite !== 'string') throw malformed('no suite');
  if (typeof marksKey !== 'string') throw malformed('no marksKey');
  if (typeof keys !== 'string') throw malformed('no keys');
  try {
    return checkVolumeSettings({
      ...{ rootId, unitSizeBytes, padding, packBytes },
      codec: parseCodec(codec),
      suite: parseSuite(suite),
      marksKey,
      keys: parseKeyScheme(keys),
      ...{ missingToWrite, others },
    });
  } catch (cause) {
    throw malformed(messageOf(cause), cause);
  }
}

/**
 * Returns the features of a list that this netseal lacks. EFORMAT unless it is a list of names, or nothing.
 */
function missingFeatures(field: string, list: unknown): string[] {
  if (list === undefined) return [];
  const isList = Array.isArray(list) && list.every(name => typeof name === 'string');
  if (!isList) throw malformed(`${field} is no list of features`);
  return list.filter(name => !FEATURES.has(name));
}

/** False when only a newer netseal may change anything in the store. */
export function isWritable({ missingToWrite = [] }: VolumeSettings): boolean {
  return missingToWrite.length === 0;
}

/** Throws EUNSUPPORTED when only a newer netseal may change anything in the store. */
export function requireWritable(settings: VolumeSettings): void {
  const { missingToWrite = [] } = settings;
  if (isWritable(settings)) return;
  const features = missingToWrite.map(shownValue).join(', ');
  throw new NetsealError(
    'EUNSUPPORTED',
    `the volume can only be read: changing it requires ${features}, and a newer netseal`,
  );
}

function parseFields(bytes: Uint8Array): Record<string, unknown> {
  if (bytes.byteLength === 0) throw malformed('there are none: this header is not of a volume of files');
  if (!isUtf8(bytes)) throw malformed('not UTF-8');
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(bytes));
  } catch (cause) {
    throw malformed('not JSON', cause);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformed('no JSON object');
  return { ...value };
}

function malformed(what: string, cause?: unknown): NetsealError {
  return new NetsealError('EFORMAT', `volume settings: ${what}`, { cause });
}
