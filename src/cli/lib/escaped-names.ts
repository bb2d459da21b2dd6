/** Reads names as `ls` shows them on a terminal. */
import { requireArgument } from '../../base/errors.ts';
import type { Name } from '../../base/name.ts';
import { toBytesName } from '../../volume/names/name-checks.ts';

const ESCAPE = /\\(?:x([0-9a-f]{2})|(\\)|)/gi;

/** Returns the name that `showName` shows so. EINVAL for a backslash that begins no escape. */
export function unescapeName(shown: string): Name {
  return toBytesName(shown).replace(ESCAPE, (_, hex: string | undefined, backslash: string | undefined) => {
    requireArgument(
      hex !== undefined || backslash !== undefined,
      `--escaped: write a backslash as \\\\ and a byte as \\xNN: ${shown}`,
    );
    return hex === undefined ? '\\' : String.fromCharCode(Number.parseInt(hex, 16));
  });
}
