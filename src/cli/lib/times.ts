/** Times as people and programs read them. */

const NS_PER_MS = 1_000_000n;
const NS_PER_S = 1_000_000_000n;

/** Formats a time in ns since 1970 as UTC, to the nanosecond: `2026-01-02T03:04:05.000000006Z`. */
export function formatTime(timeNs: bigint): string {
  const nanoseconds = ((timeNs % NS_PER_S) + NS_PER_S) % NS_PER_S;
  const seconds = new Date(Number((timeNs - nanoseconds) / NS_PER_MS)).toISOString().slice(0, -5);
  return `${seconds}.${String(nanoseconds).padStart(9, '0')}Z`;
}

/** Formats a time in ms since 1970 as {@link formatTime} does. Null, as JSON has it, when there is none. */
export function formatTimeMs(timeMs: number | undefined): string | null {
  return timeMs === undefined ? null : formatTime(BigInt(Math.trunc(timeMs)) * NS_PER_MS);
}

/** Formats a time in ns since 1970 as local time to the minute: `2026-01-02 03:04`. */
export function formatMinute(timeNs: bigint): string {
  const date = new Date(Number(timeNs / NS_PER_MS));
  const [month, day, hours, minutes] = [
    date.getMonth() + 1,
    date.getDate(),
    date.getHours(),
    date.getMinutes(),
  ].map(part => String(part).padStart(2, '0'));
  return `${date.getFullYear()}-${month}-${day} ${hours}:${minutes}`;
}

/** The latest time that a date can express, in ms since 1970. A header may hold a later one. */
const DATE_MS_MAX = 8_640_000_000_000_000;

/** Formats a time in ms since 1970 as UTC, to the millisecond. One beyond all dates is the last date. */
export function formatUtcMs(timeMs: number): string {
  return new Date(Math.min(timeMs, DATE_MS_MAX)).toISOString();
}

/** Formats a time in ms since 1970 as UTC, to the minute in which it lies: `2026-01-02 03:04`. */
export function formatUtcMinute(timeMs: number): string {
  return formatUtcMs(timeMs).slice(0, -8).replace('T', ' ');
}
