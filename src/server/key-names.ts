/**
 * Maps keys to paths of files, one to one: for a store whose objects are files in folders.
 *
 *   key      s/3fa9       i/3fa9@5      a/b         A/.x         a segment that is too long for one name
 *   path     s+/3fa9      i+/3fa9@5     a+/b        %41+/%2ex    <first 128 characters>++/<the rest>
 *
 * - A folder's name ends in `+` where a `/` follows, and in `++` where the same segment goes on. An object's
 *   name never ends in `+`, so `a` and `a/b` do not collide.
 * - Some characters stand for themselves, except a `.` that begins a name. Every other byte is `%` and two
 *   lower-case hexadecimal digits.
 * - So no name is `.` or `..`, and none is longer than 130 bytes.
 */

export interface ObjectPath {
  /** The names of folders, from the top down. */
  readonly folders: readonly string[];
  readonly file: string;
}

const NAME_LENGTH_MAX = 128;

export class KeyNames {
  readonly #escapeOfByte: readonly string[];
  readonly #escaped: RegExp;

  /**
   * @param plain the ASCII characters that stand for themselves, as the inside of a class of regular
   *   expressions. `%`, `+` and `/` must not be among them.
   */
  constructor(plain: string) {
    const isPlain = new RegExp(`[${plain}]`);
    this.#escapeOfByte = Array.from({ length: 256 }, (_, byte) => {
      const character = String.fromCharCode(byte);
      return byte < 0x80 && isPlain.test(character) ? character : `%${byte.toString(16).padStart(2, '0')}`;
    });
    this.#escaped = new RegExp(`^([/${plain}]|%[0-9a-f]{2})*$`);
  }

  /** Returns where the object of a valid key lies. */
  keyToPath(key: string): ObjectPath {
    const segments = key.split('/');
    const last = this.#segmentToNames(segments.pop() ?? '');
    const file = last.pop() ?? '';
    return { folders: [...this.segmentsToFolders(segments), ...last.map(name => `${name}++`)], file };
  }

  /** Returns the folder that holds all keys below these segments. */
  segmentsToFolders(segments: readonly string[]): string[] {
    return segments.flatMap(segment => {
      const names = this.#segmentToNames(segment);
      return names.map((name, at) => (at === names.length - 1 ? `${name}+` : `${name}++`));
    });
  }

  /** Returns the key whose object lies at `path`; undefined for a path that {@link keyToPath} never gives. */
  pathToKey(path: ObjectPath): string | undefined {
    let escaped = '';
    for (const folder of path.folders) {
      escaped += folder.endsWith('++') ? folder.slice(0, -2) : `${folder.slice(0, -1)}/`;
    }
    const key = this.#unescapeKey(escaped + path.file);
    if (key === undefined || !/^[^\0]+$/u.test(key)) return undefined;
    const again = this.keyToPath(key);
    const isSame =
      again.file === path.file &&
      again.folders.length === path.folders.length &&
      again.folders.every((folder, at) => folder === path.folders[at]);
    return isSame ? key : undefined;
  }

  /** Cuts a segment into names that are not too long; never within an escape. At least one name. */
  #segmentToNames(segment: string): string[] {
    const names: string[] = [];
    let name = '';
    for (const byte of Buffer.from(segment)) {
      let unit = this.#escapeOfByte[byte] ?? '';
      if (name.length + unit.length > NAME_LENGTH_MAX) {
        names.push(name);
        name = '';
      }
      if (name === '' && unit === '.') unit = '%2e';
      name += unit;
    }
    return [...names, name];
  }

  #unescapeKey(escaped: string): string | undefined {
    if (!this.#escaped.test(escaped)) return undefined;
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
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
