/**
 * JSON for standard output. Names from a volume are bytes, and may hold anything: no JSON written here acts
 * on a terminal.
 */
import type { Name } from '../../base/name.ts';
import { textOfName } from '../../transfer/local-names.ts';
import { nameBytes } from '../../volume/names/name-checks.ts';

// Everything that JSON leaves as it is and a terminal might act on, or show as something else.
const NOT_PLAIN = /[\x7f-\x9f\u2028\u2029\p{Cf}]/gu;

/** Returns JSON that is safe to show on a terminal. */
export function toJson(value: unknown, indent = 0): string {
  return JSON.stringify(value, null, indent).replace(NOT_PLAIN, character =>
    Array.from(
      { length: character.length },
      (_, at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, '0')}`,
    ).join(''),
  );
}

/** Returns the whole output of a command with `--json`: indented, with a newline at its end. */
export function jsonDocument(value: unknown): string {
  return `${toJson(value, 2)}\n`;
}

/**
 * Returns `{ [key]: text }`. Where the name's bytes are not UTF-8, adds `{ [key]Hex }` with the exact bytes.
 */
export function nameFields(key: string, name: Name): Record<string, string> {
  const text = textOfName(name);
  if (text !== undefined) return { [key]: text };
  const bytes = nameBytes(name);
  return { [key]: bytes.toString('utf8'), [`${key}Hex`]: bytes.toString('hex') };
}
