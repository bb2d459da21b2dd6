/** Reads sizes, rates and times as people write them. All commands read and format them here. */
import { requireArgument } from '../../base/errors.ts';
import type { Link } from '../../bench/link.ts';

export {
  formatBitRate,
  formatCount,
  formatDuration,
  formatNumber,
  formatPadding,
  formatSize,
  formatThroughput,
} from '../../bench/format.ts';
export { formatLink } from '../../bench/link.ts';

const SIZE_UNITS: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 1024,
  mib: 1024 ** 2,
  gib: 1024 ** 3,
  tib: 1024 ** 4,
};

const BIT_PREFIXES: Readonly<Record<string, number>> = { '': 1, k: 1e3, m: 1e6, g: 1e9, t: 1e12 };

const DURATION_UNITS_MS: Readonly<Record<string, number>> = {
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1e3,
  min: 60e3,
  h: 3600e3,
  d: 86_400e3,
};

/** A number without sign or exponent, and the unit after it. */
const QUANTITY = /^(\d+(?:\.\d+)?|\.\d+)\s*([a-zµμ/]*)$/i;

/**
 * Reads a size in whole bytes: `4096`, `256KiB`, `1.5 MiB`, `1GB`. KiB, MiB, GiB, TiB are powers of 1024, kB,
 * MB, GB, TB of 1000; capitals do not matter. EINVAL otherwise; `what` names the value in the message.
 */
export function parseSize(text: string, what = 'size'): number {
  const [value, unit] = parseQuantity(text);
  const factor = unit === undefined ? undefined : SIZE_UNITS[unit.toLowerCase()];
  const bytes = value * (factor ?? Number.NaN);
  requireArgument(
    Number.isSafeInteger(bytes),
    `${what}: cannot read "${text}"; write bytes as 4096, 256KiB, 1MiB or 1GB`,
  );
  return bytes;
}

/**
 * Reads a rate in bytes a second: `1Gbit/s`, `100Mbps`, `125MB/s`, `40MiB/s`. EINVAL otherwise, or when it is
 * 0.
 */
export function parseRate(text: string, what = 'rate'): number {
  const [value, unit = ''] = parseQuantity(text);
  const rate = value * (bitFactor(unit) ?? byteFactor(unit) ?? Number.NaN);
  requireArgument(
    Number.isFinite(rate) && rate > 0,
    `${what}: cannot read "${text}"; write a rate above 0 as 1Gbit/s, 100Mbit/s or 125MB/s`,
  );
  return rate;
}

function bitFactor(unit: string): number | undefined {
  const match = /^([kmgt]?)(?:bit\/s|bps)$/i.exec(unit);
  const factor = match === null ? undefined : BIT_PREFIXES[(match[1] ?? '').toLowerCase()];
  return factor === undefined ? undefined : factor / 8;
}

function byteFactor(unit: string): number | undefined {
  const match = /^([kmgt]?i?)B\/s$/.exec(unit) ?? /^([KMGT]i?)B\/s$/.exec(unit);
  return match === null ? undefined : SIZE_UNITS[`${(match[1] ?? '').toLowerCase()}b`];
}

/** Reads a time in ms: `20ms`, `1.5s`, `500us`, `2min`, `24h`, `30d`; `0` needs no unit. EINVAL otherwise. */
export function parseDuration(text: string, what = 'time'): number {
  const [value, unit = ''] = parseQuantity(text);
  const ms = value === 0 && unit === '' ? 0 : value * (DURATION_UNITS_MS[unit.toLowerCase()] ?? Number.NaN);
  requireArgument(
    Number.isFinite(ms),
    `${what}: cannot read "${text}"; write a time as 20ms, 1.5s, 2min or 24h`,
  );
  return ms;
}

/** Reads a link: a rate and a round trip, `1Gbit/s,20ms`. EINVAL otherwise. */
export function parseLink(text: string, what = 'link'): Link {
  const parts = text.split(',').map(part => part.trim());
  const [rate, roundTrip] = parts;
  requireArgument(
    parts.length === 2 && rate !== undefined && roundTrip !== undefined,
    `${what}: cannot read "${text}"; write bandwidth and round trip as 1Gbit/s,20ms`,
  );
  return { bytesPerSecond: parseRate(rate, what), roundTripMs: parseDuration(roundTrip, what) };
}

/** Reads a whole number from `min` to `max`. EINVAL otherwise. */
export function parseCount(text: string, what: string, min: number, max: number): number {
  const count = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  requireArgument(
    count >= min && count <= max,
    `${what}: must be a whole number from ${min} to ${max}, not "${text}"`,
  );
  return count;
}

/** Splits a list at commas and reads each part. EINVAL when it is empty, or from `parse`. */
export function parseList<Item>(text: string, what: string, parse: (part: string) => Item): Item[] {
  const parts = text.split(',').map(part => part.trim());
  requireArgument(
    !parts.includes(''),
    `${what}: an empty value in "${text}"; separate values with single commas`,
  );
  return parts.map(parse);
}

function parseQuantity(text: string): [value: number, unit: string | undefined] {
  const match = QUANTITY.exec(text.trim());
  return match === null ? [Number.NaN, undefined] : [Number(match[1]), match[2] ?? ''];
}
