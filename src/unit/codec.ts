/** What a codec is, and how people write one down: `stored`, `zstd:3`, `deflate:6`. */
import { requireArgument } from '../base/errors.ts';
import { CODEC_IDS, type CodecName } from './record-format.ts';

export type CodecProviderName = 'native' | 'portable';

/** One codec as one library provides it. Providers of a codec open each other's output. */
export interface CodecProvider {
  readonly codec: CodecName;
  readonly provider: CodecProviderName;
  /**
   * Compresses `plain` (1 byte to 16 MiB). Returns fresh memory whose whole buffer the caller owns; it may be longer
   * than `plain`.
   */
  compress(plain: Uint8Array, level: number): Uint8Array;
  /**
   * Decompresses an authenticated payload to exactly `plainBytes` bytes, in fresh memory whose whole buffer the
   * caller owns. Never allocates for more than `plainBytes` and the codec's own window, itself bounded by
   * `plainBytes`. EFORMAT when the payload is malformed or makes another length.
   */
  decompress(payload: Uint8Array, plainBytes: number): Uint8Array;
}

/** A codec and its level; level is 0 for `stored`. */
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

/** EINVAL unless the level is one that the codec has: zstd 1-19, deflate 1-9, stored 0. */
export function checkCodec(setting: CodecSetting): void {
  const limits = LEVELS[setting.codec];
  const min = Math.min(1, limits.max);
  requireArgument(
    Number.isInteger(setting.level) && setting.level >= min && setting.level <= limits.max,
    `${setting.codec} has levels ${min} to ${limits.max}, not ${setting.level}`,
  );
}

/** Reads `stored`, `zstd`, `zstd:3`, `deflate:6`. EINVAL for anything else. */
export function parseCodec(text: string): CodecSetting {
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

/** The inverse of {@link parseCodec}. */
export function formatCodec(setting: CodecSetting): string {
  return setting.codec === 'stored' ? 'stored' : `${setting.codec}:${setting.level}`;
}
