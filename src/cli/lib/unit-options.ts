/** The options for how units are sealed, for every command that sets it. */
import type { Command } from 'commander';
import {
  BLOCK_BYTES_DEFAULT,
  checkBlockSize,
  UNIT_BYTES_DEFAULT,
  unitSizeToLog2,
} from '../../base/geometry.ts';
import { CODEC_DEFAULT, type CodecSetting, formatCodec, parseCodec } from '../../unit/codec.ts';
import { parseSuite, SUITE_DEFAULT, type SuiteName } from '../../unit/record-format.ts';
import { formatSize } from './sizes.ts';
import { sizeOption } from './value-options.ts';

export interface UnitOptions {
  readonly unitSize: number;
  readonly blockSize: number;
  readonly codec: string;
  readonly cipher: string;
}

export interface UnitSettings {
  readonly unitSizeBytes: number;
  readonly blockSizeBytes: number;
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
      sizeOption('--block-size <size>', 'pad stored units to blocks of this size, 1 to 64KiB').default(
        BLOCK_BYTES_DEFAULT,
        formatSize(BLOCK_BYTES_DEFAULT),
      ),
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
  const { unitSize: unitSizeBytes, blockSize: blockSizeBytes } = options;
  const codec = parseCodec(options.codec);
  const suite = parseSuite(options.cipher);
  unitSizeToLog2(unitSizeBytes);
  checkBlockSize(blockSizeBytes, unitSizeBytes);
  return { unitSizeBytes, blockSizeBytes, codec, suite };
}
