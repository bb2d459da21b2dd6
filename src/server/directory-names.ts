/**
 * Maps keys to paths below `objects` in a directory store, one to one.
 *
 *   key      s/3fa9       i/3fa9@5      a/b         A/.x         a segment that is too long for one name
 *   path     s+/3fa9      i+/3fa9@5     a+/b        %41+/%2ex    <first 128 characters>++/<the rest>
 *
 * - A folder's name ends in `+` where a `/` follows, and in `++` where the same segment goes on. An object's
 *   name never ends in `+`, so `a` and `a/b` do not collide.
 * - Lower-case letters, digits and `_@=,.-` stand for themselves, except a `.` that begins a name. Every
 *   other byte is `%` and two lower-case hexadecimal digits.
 * - So no name is `.` or `..`, none is longer than 130 bytes, and no two differ only by case or by Unicode
 *   normalisation.
 */

export interface ObjectPath {
  /** The names from `objects` down. */
  readonly folders: readonly string[];
  readonly file: string;
}

const NAME_LENGTH_MAX = 128;

/** Returns where the object of a valid key lies. */
export function keyToPath(key: string): ObjectPath {
  const segments = key.split('/');
  const last = segmentToNames(segments.pop() ?? '');
  const file = last.pop() ?? '';
  return { folders: [...segmentsToFolders(segments), ...last.map(name => `${name}++`)], file };
}

/** Returns the folder that holds all keys below these segments. */
export function segmentsToFolders(segments: readonly string[]): string[] {
  return segments.flatMap(segment => {
    const names = segmentToNames(segment);
    return names.map((name, at) => (at === names.length - 1 ? `${name}+` : `${name}++`));
  });
}

/** Returns the key whose object lies at `path`; undefined for a path that {@link keyToPath} never gives. */
export function pathToKey(path: ObjectPath): string | undefined {
  let escaped = '';
  for (const folder of path.folders) {
    escaped += folder.endsWith('++') ? folder.slice(0, -2) : `${folder.slice(0, -1)}/`;
  }
  const key = unescapeKey(escaped + path.file);
  if (key === undefined || !/^[^\0]+$/u.test(key)) return undefined;
  const again = keyToPath(key);
  const isSame =
    again.file === path.file &&
    again.folders.length === path.folders.length &&
    again.folders.every((folder, at) => folder === path.folders[at]);
  return isSame ? key : undefined;
}

/** Cuts a segment into names that are not too long; never within an escape. At least one name. */
function segmentToNames(segment: string): string[] {
  const names: string[] = [];
  let name = '';
  for (const byte of Buffer.from(segment)) {
    let unit = ESCAPE_OF_BYTE[byte] ?? '';
    if (name.length + unit.length > NAME_LENGTH_MAX) {
      names.push(name);
      name = '';
    }
    if (name === '' && unit === '.') unit = '%2e';
    name += unit;
  }
  return [...names, name];
}

const ESCAPE_OF_BYTE: readonly string[] = Array.from({ length: 256 }, (_, byte) => {
  const character = String.fromCharCode(byte);
  return /[a-z0-9_@=,.-]/.test(character) ? character : `%${byte.toString(16).padStart(2, '0')}`;
});

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function unescapeKey(escaped: string): string | undefined {
  if (!/^([a-z0-9_@=,./-]|%[0-9a-f]{2})*$/.test(escaped)) return undefined;
  const bytes: number[] = [];
  for (let at = 0; at < escaped.length; at += 1) {
    const isEscape = escaped[at] === '%';
    bytes.push(isEscape ? Number.parseInt(escaped.slice(at + 1, at + 3), 16) : escaped.charCodeAt(at));
    if (isEscape) at += 2;
  }
  try {
    return UTF8.decode(Uint8Array.from(bytes));
  } catch {
    return undefined;
  }
}
