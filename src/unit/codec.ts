/**
 * Codecs: their interface, their levels, and the text form that people write: `stored`, `zstd:3`,
 * `deflate:6`.
 */
import { requireObject, requireText, shownValue } from '../base/arguments.ts';
import { requireArgument } from '../base/errors.ts';
import { CODEC_IDS, type CodecName } from './record-format.ts';

export type CodecProviderName = 'native' | 'portable';

/** One codec by one library. Each provider of a codec decompresses the output of the others. */
export interface CodecProvider {
  readonly codec: CodecName;
  readonly provider: CodecProviderName;
  /**
   * Compresses `plain`, which is 1 byte to 16 MiB long. Returns new memory, possibly longer than `plain`. The
   * caller owns its whole buffer.
   */
  compress(plain: Uint8Array, level: number): Uint8Array;
  /**
   * Decompresses an authenticated payload to exactly `plainBytes` bytes. Returns new memory; the caller owns
   * its whole buffer. Allocates no more than `plainBytes` and the codec's window, which `plainBytes` bounds
   * as well.
   *
   * Throws EFORMAT when the payload is malformed or decompresses to another length.
   */
  decompress(payload: Uint8Array, plainBytes: number): Uint8Array;
}

/** A codec and its level: 1 to 19 for `zstd`, 1 to 9 for `deflate`, 0 for `stored`. */
export interface CodecSetting {
  readonly codec: CodecName;
  readonly level: number;
}

export const CODEC_DEFAULT: CodecSetting = { codec: 'zstd', level: 1 };

const LEVELS: Record<CodecName, { readonly max: number; readonly standard: number }> = {
  stored: { max: 0, standard: 0 },
  zstd: { max: 19, standard: 1 },
  deflate: { max: 9, standard: 1 },
};

/** Throws EINVAL unless the codec has this level. */
export function checkCodec(setting: CodecSetting): void {
  requireObject('codec', setting);
  requireArgument(Object.hasOwn(CODEC_IDS, setting.codec), `unknown codec ${shownValue(setting.codec)}`);
  const limits = LEVELS[setting.codec];
  const min = Math.min(1, limits.max);
  requireArgument(
    Number.isInteger(setting.level) && setting.level >= min && setting.level <= limits.max,
    `${setting.codec} has levels ${min} to ${limits.max}, not ${shownValue(setting.level)}`,
  );
}

/**
 * Reads a codec such as `stored`, `zstd:3` or `deflate:6`; without a level it is 1. Throws EINVAL for any
 * other text.
 */
export function parseCodec(text: string): CodecSetting {
  requireText('codec', text);
  const [name = '', levelText, ...rest] = text.split(':');
  requireArgument(
    Object.hasOwn(CODEC_IDS, name) && rest.length === 0,
    `unknown codec "${text}": use stored, zstd:1 to zstd:19, or deflate:1 to deflate:9`,
  );
  const codec = name as CodecName;
  requireArgument(
    levelText === undefined || /^\d{1,2}$/.test(levelText),
    `codec "${text}": the level must be a whole number`,
  );
  const setting = { codec, level: levelText === undefined ? LEVELS[codec].standard : Number(levelText) };
  checkCodec(setting);
  return setting;
}

/** Returns the text that {@link parseCodec} reads. EINVAL for a codec or level that does not exist. */
export function formatCodec(setting: CodecSetting): string {
  checkCodec(setting);
  return setting.codec === 'stored' ? 'stored' : `${setting.codec}:${setting.level}`;
}
