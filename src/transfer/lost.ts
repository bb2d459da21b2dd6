/** One error for all the lost ranges of a damaged file. */
import { NetsealError } from '../base/errors.ts';
import type { Piece } from '../volume/content/file-reader.ts';

/** The most ranges that a message names. */
const RANGES_MAX = 8;

/**
 * Returns an error that names the ranges, half-open, in bytes. Its code and cause are those of the first
 * range.
 */
export function lostError(pieces: readonly Piece[]): NetsealError {
  const ranges: { start: number; end: number }[] = [];
  for (const { offsetBytes, lengthBytes } of [...pieces].sort((a, b) => a.offsetBytes - b.offsetBytes)) {
    const last = ranges.at(-1);
    if (last?.end === offsetBytes) last.end += lengthBytes;
    else ranges.push({ start: offsetBytes, end: offsetBytes + lengthBytes });
  }
  const shown = ranges.slice(0, RANGES_MAX).map(({ start, end }) => `${start} to ${end}`);
  const more = ranges.length > shown.length ? `, and ${ranges.length - shown.length} more` : '';
  const cause = pieces.find(({ error }) => error !== undefined)?.error;
  const why = cause?.message ?? 'unknown';
  return new NetsealError(cause?.code ?? 'EAUTH', `bytes ${shown.join(', ')}${more} are lost: ${why}`, {
    cause,
  });
}
