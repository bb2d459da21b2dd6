/** The options for how units are sealed, for every command that sets it. */
import type { Command } from 'commander';
import { UNIT_BYTES_DEFAULT, unitSizeToLog2 } from '../../base/geometry.ts';
import { CODEC_DEFAULT, type CodecSetting, formatCodec, parseCodec } from '../../unit/codec.ts';
import { checkPadding, PADDING_DEFAULT, type Padding } from '../../unit/padding.ts';
import { parseSuite, SUITE_DEFAULT, type SuiteName } from '../../unit/record-format.ts';
import { formatSize, parseSize } from './sizes.ts';
import { sizeOption, valueOption } from './value-options.ts';

export interface UnitOptions {
  readonly unitSize: number;
  readonly padding: Padding;
  readonly codec: string;
  readonly cipher: string;
}

export interface UnitSettings {
  readonly unitSizeBytes: number;
  readonly padding: Padding;
  readonly codec: CodecSetting;
  readonly suite: SuiteName;
}

export function withUnitOptions(command: Command): Command {
  return command
    .addOption(
      sizeOption('--unit-size <size>', 'compress and encrypt in units of this size, 4KiB to 16MiB').default(
        UNIT_BYTES_DEFAULT,
        formatSize(UNIT_BYTES_DEFAULT),
      ),
    )
    .addOption(
      valueOption(
        '--padding <padding>',
        'pad stored units: padme, none, or to multiples of a size up to 64KiB',
        parsePadding,
      ).default(PADDING_DEFAULT),
    )
    .option(
      '--codec <codec>',
      'stored, zstd:1 to zstd:19, deflate:1 to deflate:9',
      formatCodec(CODEC_DEFAULT),
    )
    .option('--cipher <suite>', 'xaes-256-gcm or xchacha20-poly1305', SUITE_DEFAULT);
}

/** Returns the settings that the options mean. EINVAL when a value is out of range. */
export function readUnitOptions(options: UnitOptions): UnitSettings {
  const { unitSize: unitSizeBytes, padding } = options;
  const codec = parseCodec(options.codec);
  const suite = parseSuite(options.cipher);
  unitSizeToLog2(unitSizeBytes);
  checkPadding(padding, unitSizeBytes);
  return { unitSizeBytes, padding, codec, suite };
}

/**
 * Reads a padding: `padme`, `none` or a size. EINVAL when it is no size; not whether it is a possible one.
 */
export function parsePadding(text: string, name: string): Padding {
  return text === 'padme' || text === 'none' ? text : parseSize(text, name);
}
