/** The options that say how units are made, for every command that makes them. */
import { type Command, Option } from 'commander';
import {
  BLOCK_BYTES_DEFAULT,
  checkBlockSize,
  UNIT_BYTES_DEFAULT,
  unitSizeToLog2,
} from '../../base/geometry.ts';
import { CODEC_DEFAULT, type CodecSetting, formatCodec, parseCodec } from '../../unit/codec.ts';
import { parseSuite, SUITE_DEFAULT, type SuiteName } from '../../unit/record-format.ts';
import { formatSize, parseSize } from './sizes.ts';

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
      new Option('--unit-size <size>', 'what is compressed and encrypted as one, 4KiB to 16MiB')
        .argParser(text => parseSize(text, '--unit-size'))
        .default(UNIT_BYTES_DEFAULT, formatSize(UNIT_BYTES_DEFAULT)),
    )
    .addOption(
      new Option('--block-size <size>', 'what stored units are padded to, 1 to 64KiB')
        .argParser(text => parseSize(text, '--block-size'))
        .default(BLOCK_BYTES_DEFAULT, formatSize(BLOCK_BYTES_DEFAULT)),
    )
    .option(
      '--codec <codec>',
      'stored, zstd:1 to zstd:19, deflate:1 to deflate:9',
      formatCodec(CODEC_DEFAULT),
    )
    .option('--cipher <suite>', 'xaes-256-gcm or xchacha20-poly1305', SUITE_DEFAULT);
}

/** EINVAL when a value is out of range. */
export function readUnitOptions(options: UnitOptions): UnitSettings {
  const { unitSize: unitSizeBytes, blockSize: blockSizeBytes } = options;
  const codec = parseCodec(options.codec);
  const suite = parseSuite(options.cipher);
  unitSizeToLog2(unitSizeBytes);
  checkBlockSize(blockSizeBytes, unitSizeBytes);
  return { unitSizeBytes, blockSizeBytes, codec, suite };
}
