/** The link between this machine and the server, as the cost model describes it. */
import { requireArgument } from '../base/errors.ts';
import { formatBitRate, formatDuration } from './format.ts';

export interface Link {
  /** The bandwidth, the same in both directions. */
  readonly bytesPerSecond: number;
  /** The time from sending a request to the first byte of its answer. */
  readonly roundTripMs: number;
}

/** A line of an office or home to a data centre in the same part of the world: 1 Gbit/s, 20 ms. */
export const LINK_DEFAULT: Link = { bytesPerSecond: 125_000_000, roundTripMs: 20 };

/** Throws EINVAL unless the bandwidth is positive and the round trip is not negative. */
export function checkLink(link: Link): void {
  requireArgument(
    Number.isFinite(link.bytesPerSecond) && link.bytesPerSecond > 0,
    `link: bandwidth must be more than 0, not ${link.bytesPerSecond} bytes per second`,
  );
  requireArgument(
    Number.isFinite(link.roundTripMs) && link.roundTripMs >= 0,
    `link: round trip must be 0 ms or more, not ${link.roundTripMs}`,
  );
}

/** Returns how long `bytes` take at full bandwidth, without a round trip. */
export function transferMs(link: Link, bytes: number): number {
  return (bytes / link.bytesPerSecond) * 1000;
}

/** Formats a link as the parser reads it: `1 Gbit/s, 20 ms`. */
export function formatLink(link: Link): string {
  return `${formatBitRate(link.bytesPerSecond)}, ${formatDuration(link.roundTripMs)}`;
}
