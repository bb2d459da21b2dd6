/** The JSON documents that commands print as their results. */
import type { Name } from '../../base/name.ts';
import { textOfName } from '../../transfer/local-names.ts';
import { nameBytes } from '../../volume/names/name-checks.ts';
import { toJson } from './json-text.ts';
import { notesSoFar } from './notes.ts';

/**
 * Returns the whole output of a command whose result is an object: indented, with a newline at its end. The
 * notes that were written so far follow those of the object.
 */
export function jsonDocument({ notes = [], ...fields }: ResultFields): string {
  return `${toJson({ ...fields, notes: [...notes, ...notesSoFar()] }, 2)}\n`;
}

export interface ResultFields {
  readonly notes?: readonly object[];
  readonly [field: string]: unknown;
}

/** Returns the whole output of a command whose result is a list. A list has no place for notes. */
export function jsonList(entries: readonly unknown[]): string {
  return `${toJson(entries, 2)}\n`;
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
