/** The settings under comparison: a grid of values, and all their combinations. */
import { requireArgument } from '../base/errors.ts';
import { KIB, MIB, UNIT_BYTES_DEFAULT, UNIT_BYTES_MAX, unitSizeToLog2 } from '../base/geometry.ts';
import { CODEC_DEFAULT, type CodecSetting, checkCodec, formatCodec } from '../unit/codec.ts';
import { checkPadding, PADDING_DEFAULT, type Padding, savesEnough } from '../unit/padding.ts';
import type { ProviderChoice } from '../unit/providers.ts';
import type { SuiteName } from '../unit/record-format.ts';
import { formatPadding, formatSize } from './format.ts';

export interface BenchSetting {
  readonly unitSizeBytes: number;
  readonly padding: Padding;
  readonly codec: CodecSetting;
  readonly suite: SuiteName;
  /** The libraries that do the work, for codecs and for ciphers. */
  readonly providers: ProviderChoice;
}

/** The values to combine, for each part of a setting. No list may be empty. */
export interface BenchGrid {
  readonly unitSizesBytes: readonly number[];
  readonly paddings: readonly Padding[];
  readonly codecs: readonly CodecSetting[];
  readonly suites: readonly SuiteName[];
  readonly providers: readonly ProviderChoice[];
}

export const GRID_DEFAULT: BenchGrid = {
  unitSizesBytes: [4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB],
  paddings: [PADDING_DEFAULT],
  codecs: [
    { codec: 'stored', level: 0 },
    { codec: 'zstd', level: 1 },
    { codec: 'zstd', level: 3 },
    { codec: 'deflate', level: 1 },
  ],
  suites: ['xaes-256-gcm'],
  providers: ['auto'],
};

/** The setting that netseal uses by default. */
export const SETTING_DEFAULT: BenchSetting = {
  unitSizeBytes: UNIT_BYTES_DEFAULT,
  padding: PADDING_DEFAULT,
  codec: CODEC_DEFAULT,
  suite: 'xaes-256-gcm',
  providers: 'auto',
};

/** The most settings in one sweep. */
export const SETTINGS_MAX = 1000;

export interface ExpandedGrid {
  /** Settings, ascending by unit size, then in the order of the grid. */
  readonly settings: readonly BenchSetting[];
  /** For people: what was left out, and why. */
  readonly notes: readonly string[];
}

/**
 * Returns all combinations, each once. Padding to more than the unit is left out, and a note says so.
 *
 * Throws EINVAL when a value is out of range, when nothing is left, or for more than {@link SETTINGS_MAX}
 * settings.
 */
export function expandGrid(grid: BenchGrid): ExpandedGrid {
  const unitSizes = [...new Set(grid.unitSizesBytes)].sort((left, right) => left - right);
  const paddings = [...new Set(grid.paddings)];
  for (const unitSizeBytes of unitSizes) unitSizeToLog2(unitSizeBytes);
  for (const padding of paddings) checkPadding(padding, UNIT_BYTES_MAX);
  for (const codec of grid.codecs) checkCodec(codec);

  const settings = new Map<string, BenchSetting>();
  const notes: string[] = [];
  for (const [unitSizeBytes, padding] of pairs(unitSizes, paddings)) {
    if (typeof padding === 'number' && padding > unitSizeBytes) {
      notes.push(
        `skipped ${formatSize(unitSizeBytes)} units with ${formatPadding(padding)}: it is more than the unit`,
      );
      continue;
    }
    for (const [suite, providers] of pairs(grid.suites, grid.providers)) {
      for (const codec of grid.codecs) {
        const setting = { unitSizeBytes, padding, codec, suite, providers };
        settings.set(settingId(setting), setting);
      }
    }
  }
  requireArgument(
    settings.size > 0,
    `nothing to measure: ${notes.join('; ') || 'an empty list of settings'}`,
  );
  requireArgument(
    settings.size <= SETTINGS_MAX,
    `${settings.size} settings are too many for one sweep; the limit is ${SETTINGS_MAX}`,
  );
  const list = [...settings.values()];
  return { settings: list, notes: [...notes, ...rawNotes(list)] };
}

/** Returns notes about settings where no codec can save anything, to explain their ratios. */
function rawNotes(settings: readonly BenchSetting[]): string[] {
  const raw = settings.filter(({ unitSizeBytes, padding }) => !savesEnough(1, unitSizeBytes, padding));
  const sizes = new Set(
    raw.filter(({ codec }) => codec.codec !== 'stored').map(({ unitSizeBytes }) => unitSizeBytes),
  );
  return [...sizes].map(
    size =>
      `${formatSize(size)} units with padding to as much are always stored as they are: compression saves nothing`,
  );
}

function* pairs<Left, Right>(lefts: readonly Left[], rights: readonly Right[]): Generator<[Left, Right]> {
  for (const left of lefts) for (const right of rights) yield [left, right];
}

/** Returns a unique name of the setting: `262144/padme/zstd:1/xaes-256-gcm/auto`. */
export function settingId(setting: BenchSetting): string {
  const { unitSizeBytes, padding, codec, suite, providers } = setting;
  return [unitSizeBytes, padding, formatCodec(codec), suite, providers].join('/');
}

/** Which parts of the settings have more than one value. Labels name only those. */
export interface Varying {
  readonly paddings: boolean;
  readonly suites: boolean;
  readonly providers: boolean;
}

export function varyingOf(settings: readonly BenchSetting[]): Varying {
  const several = (values: readonly unknown[]): boolean => new Set(values).size > 1;
  return {
    paddings: several(settings.map(setting => setting.padding)),
    suites: several(settings.map(setting => setting.suite)),
    providers: several(settings.map(setting => setting.providers)),
  };
}

/** Names all but the unit size: `zstd:1`, or `zstd:1, 4 KiB padding, xchacha20-poly1305, portable`. */
export function seriesLabel(setting: BenchSetting, varying: Varying): string {
  return seriesParts(setting, varying).join(', ');
}

function seriesParts(setting: BenchSetting, varying: Varying): string[] {
  const parts = [formatCodec(setting.codec)];
  if (varying.paddings) parts.push(formatPadding(setting.padding));
  if (varying.suites) parts.push(setting.suite);
  if (varying.providers) parts.push(setting.providers);
  return parts;
}

/** Names all but the codec, for tables with a row for each codec: `256 KiB units, no padding, portable`. */
export function groupLabel(setting: BenchSetting, varying: Varying): string {
  const [, ...others] = seriesParts(setting, varying);
  return [`${formatSize(setting.unitSizeBytes)} units`, ...others].join(', ');
}

/** Names the whole setting, for a sentence: `256 KiB units, zstd:1`. */
export function settingLabel(setting: BenchSetting, varying: Varying): string {
  return `${formatSize(setting.unitSizeBytes)} units, ${seriesLabel(setting, varying)}`;
}
