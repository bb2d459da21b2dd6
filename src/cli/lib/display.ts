/** What is in a volume as people and programs read it. Nothing from a volume reaches a terminal as a control character. */
import type { Name } from '../../base/name.ts';
import type { Inode, InodeType } from '../../server/sealed/inode.ts';
import { showName, textOfName } from '../../transfer/local-names.ts';
import { nameBytes, toBytesName } from '../../volume/names/name-checks.ts';
import { formatSize } from './sizes.ts';

const TYPE_LETTERS: Record<InodeType, string> = { file: '-', directory: 'd', symlink: 'l' };

/** `drwxr-xr-x`, as `ls` has it. */
export function formatMode(type: InodeType, mode: number): string {
  const special = [mode & 0o4000, mode & 0o2000, mode & 0o1000];
  const triples = [6, 3, 0].map((shift, at) => {
    const bits = (mode >> shift) & 7;
    const letter = at === 2 ? 't' : 's';
    const mark = (bits & 1) === 0 ? letter.toUpperCase() : letter;
    const execute = special[at] === 0 ? ((bits & 1) === 0 ? '-' : 'x') : mark;
    return `${(bits & 4) === 0 ? '-' : 'r'}${(bits & 2) === 0 ? '-' : 'w'}${execute}`;
  });
  return TYPE_LETTERS[type] + triples.join('');
}

/** Four octal digits. */
export function octalMode(mode: number): string {
  return mode.toString(8).padStart(4, '0');
}

const NS_PER_S = 1_000_000_000n;

/** UTC to the nanosecond: `2026-01-02T03:04:05.000000006Z`. */
export function formatTime(timeNs: bigint): string {
  const nanoseconds = ((timeNs % NS_PER_S) + NS_PER_S) % NS_PER_S;
  const seconds = new Date(Number((timeNs - nanoseconds) / 1_000_000n)).toISOString().slice(0, -5);
  return `${seconds}.${String(nanoseconds).padStart(9, '0')}Z`;
}

/** Local time to the minute: `2026-01-02 03:04`. */
export function formatMinute(timeNs: bigint): string {
  const date = new Date(Number(timeNs / 1_000_000n));
  const [month, day, hours, minutes] = [
    date.getMonth() + 1,
    date.getDate(),
    date.getHours(),
    date.getMinutes(),
  ].map(part => String(part).padStart(2, '0'));
  return `${date.getFullYear()}-${month}-${day} ${hours}:${minutes}`;
}

export function formatBytes(bytes: number, isHuman: boolean): string {
  return isHuman ? formatSize(bytes) : String(bytes);
}

/** What goes to standard output, gathered as bytes: names are no text. */
export class Lines {
  readonly #isTerminal: boolean;
  readonly #end: string;
  #bytes: Name = '';

  /** @param end `\n`, or `\0` for programs that read any name. */
  constructor(isTerminal: boolean, end = '\n') {
    this.#isTerminal = isTerminal;
    this.#end = end;
  }

  /** A name or path as it is to be written: escaped on a terminal, else its bytes. */
  name(name: Name): Name {
    return this.#isTerminal ? toBytesName(showName(name)) : name;
  }

  /** @param line bytes, with names of {@link name}. */
  add(line: Name): void {
    this.#bytes += line + this.#end;
  }

  take(): Buffer {
    const bytes = nameBytes(this.#bytes);
    this.#bytes = '';
    return bytes;
  }
}

// Everything that JSON leaves as it is and a terminal might act on, or show as something else.
const NOT_PLAIN = /[\x7f-\x9f\u2028\u2029\p{Cf}]/gu;

/** JSON that is safe to look at on a terminal. */
export function toJson(value: unknown, indent = 0): string {
  return JSON.stringify(value, null, indent).replace(NOT_PLAIN, character =>
    Array.from(
      { length: character.length },
      (_, at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, '0')}`,
    ).join(''),
  );
}

/** `{ [key]: text }`, and `{ [key]Hex }` with the bytes where they are not UTF-8. */
export function nameFields(key: string, name: Name): Record<string, string> {
  const text = textOfName(name);
  if (text !== undefined) return { [key]: text };
  const bytes = nameBytes(name);
  return { [key]: bytes.toString('utf8'), [`${key}Hex`]: bytes.toString('hex') };
}

/** What `ls --json` and `stat --json` say of an inode. */
export function describeInode(inode: Inode): Record<string, unknown> {
  const { type, mode, uid, gid, mtimeNs } = inode;
  const common = { type, mode: octalMode(mode), uid, gid, mtime: formatTime(mtimeNs) };
  if (inode.type === 'directory') return { ...common, entries: inode.entryCount };
  if (inode.type === 'symlink') {
    const { target, linkCount } = inode;
    return {
      ...common,
      size: target.byteLength,
      links: linkCount,
      ...nameFields('target', toBytesName(target)),
    };
  }
  return { ...common, size: inode.sizeBytes, stored: inode.storedBytes, links: inode.linkCount };
}

/** Bytes of content, and what is stored for them; undefined where there is none. */
export function sizesOf(inode: Inode): { size: number | undefined; stored: number | undefined } {
  if (inode.type === 'directory') return { size: undefined, stored: undefined };
  if (inode.type === 'symlink') return { size: inode.target.byteLength, stored: undefined };
  return { size: inode.sizeBytes, stored: inode.storedBytes };
}
