/**
 * The settings that a volume is made with. They lie in the volume header's sealed `settings`, as JSON in
 * UTF-8:
 *
 *   {"layout":1,"rootId":"<32 hex>","unitSizeBytes":262144,
 *    "blockSizeBytes":4096,"packBytes":131072,"codec":"zstd:1","suite":"xaes-256-gcm"}
 *
 * Sizes, codec and suite are those of new files; every record names its own. Unknown fields of layout 1 are
 * ignored.
 */

import { isUtf8 } from 'node:buffer';
import { requireObject, shownValue } from '../../base/arguments.ts';
import { utf8 } from '../../base/bytes.ts';
import { messageOf, NetsealError, requireArgument } from '../../base/errors.ts';
import {
  BLOCK_BYTES_DEFAULT,
  checkBlockSize,
  KIB,
  UNIT_BYTES_DEFAULT,
  unitSizeToLog2,
} from '../../base/geometry.ts';
import { checkId, type Id, randomId } from '../../base/ids.ts';
import { CODEC_DEFAULT, type CodecSetting, checkCodec, formatCodec, parseCodec } from '../../unit/codec.ts';
import { PACK_BYTES_MAX, parseSuite, SUITE_DEFAULT, type SuiteName } from '../../unit/record-format.ts';

export interface VolumeSettings {
  /** The root directory's inode. */
  readonly rootId: Id;
  readonly unitSizeBytes: number;
  readonly blockSizeBytes: number;
  /** How much of small files is compressed and encrypted together: 4 KiB to 1 MiB; 0 for none. */
  readonly packBytes: number;
  readonly codec: CodecSetting;
  readonly suite: SuiteName;
}

const LAYOUT = 1;

/** Larger packs compress a little better, and make more of a read that wants one file. */
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
 * Fills in defaults: a random root, units of 256 KiB, blocks of 4 KiB, packs of 128 KiB, zstd:1, xaes-256-gcm. EINVAL for a
 * wrong value.
 */
export function checkVolumeSettings(partial: Partial<VolumeSettings> = {}): VolumeSettings {
  requireObject('settings', partial);
  const {
    rootId = randomId(),
    unitSizeBytes = UNIT_BYTES_DEFAULT,
    blockSizeBytes = BLOCK_BYTES_DEFAULT,
    packBytes = PACK_BYTES_DEFAULT,
    codec = CODEC_DEFAULT,
    suite = SUITE_DEFAULT,
  } = partial;
  const settings = {
    ...{ rootId, unitSizeBytes, blockSizeBytes, packBytes },
    codec: parseCodec(formatCodec(codec)),
    suite: parseSuite(suite),
  };
  checkId(settings.rootId);
  unitSizeToLog2(settings.unitSizeBytes);
  checkBlockSize(settings.blockSizeBytes, settings.unitSizeBytes);
  checkPackBytes(settings.packBytes);
  checkCodec(settings.codec);
  return settings;
}

/** Encodes settings for `createVolumeHeader` and `withSettings`: some 150 bytes. EINVAL for a wrong value. */
export function encodeSettings(settings: VolumeSettings): Uint8Array<ArrayBuffer> {
  const { codec, ...rest } = checkVolumeSettings(settings);
  return utf8(JSON.stringify({ layout: LAYOUT, ...rest, codec: formatCodec(codec) }));
}

/** Decodes settings. EFORMAT when these are not the settings of a volume; EUNSUPPORTED for a newer layout. */
export function decodeSettings(bytes: Uint8Array): VolumeSettings {
  const fields = parseFields(bytes);
  const { layout, rootId, unitSizeBytes, blockSizeBytes, packBytes, codec, suite } = fields;
  if (typeof layout !== 'number' || !Number.isSafeInteger(layout) || layout < 1) throw malformed('no layout');
  if (layout > LAYOUT) {
    throw new NetsealError(
      'EUNSUPPORTED',
      `volume settings: layout ${layout}, and this netseal knows layout ${LAYOUT}`,
    );
  }
  if (typeof rootId !== 'string') throw malformed('no rootId');
  if (typeof unitSizeBytes !== 'number') throw malformed('no unitSizeBytes');
  if (typeof blockSizeBytes !== 'number') throw malformed('no blockSizeBytes');
  if (typeof packBytes !== 'number') throw malformed('no packBytes');
  if (typeof codec !== 'string') throw malformed('no codec');
  if (typeof suite !== 'string') throw malformed('no suite');
  try {
    return checkVolumeSettings({
      ...{ rootId, unitSizeBytes, blockSizeBytes, packBytes },
      codec: parseCodec(codec),
      suite: parseSuite(suite),
    });
  } catch (cause) {
    throw malformed(messageOf(cause), cause);
  }
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
