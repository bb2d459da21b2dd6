/**
 * The plaintext of a client's head. `docs/LAYOUT.md`, "Heads", is the specification. Pure.
 *
 *   1       layout version, 2
 *   1       flags: bit 0 ephemeral; bit 1 extensions follow at the end; others 0, or a newer netseal is needed
 *   varint  version: 1 more than that of the head it replaces
 *   varint  when it was written: ms since 1970 by the store's clock, as all times here
 *   varint  sessions with open files, 0 to 64
 *   -       each, ascending by id: id 16, varint last seen, varint its oldest open file
 *   varint  marks, 0 to 4,096
 *   -       each, newest first: id 16, varint version, SHA-256 32
 *   -       extensions, if so: see `extensions.ts`
 */
import { ByteReader, ByteWriter } from '../../base/coder.ts';
import { requireArgument } from '../../base/errors.ts';
import { KIB } from '../../base/geometry.ts';
import { ID_BYTES, type Id } from '../../base/ids.ts';
import { decodeExtensions, type Extension, encodeExtensions } from './extensions.ts';
import { LAYOUT_VERSION, readVersion } from './node-frame.ts';

/** The version of an inode object that a client has read or written last. */
export interface HeadMark {
  readonly id: Id;
  readonly version: number;
  /**
   * SHA-256 of the sealed record, in lower-case hexadecimal. All zeros when the client saw two hashes for
   * this version.
   */
  readonly hash: string;
}

/** A session that has files open. */
export interface OpenSession {
  readonly id: Id;
  /** When the session last told this. */
  readonly seenAtMs: number;
  /** When it opened the file that it has had open the longest. */
  readonly oldestOpenMs: number;
}

export interface Head {
  /**
   * True for a client that keeps no state, so its head will not be written again when its process has ended.
   * gc takes such a head's marks into its own head a day later, and deletes it. Nobody misses it.
   */
  readonly isEphemeral: boolean;
  readonly version: number;
  readonly writtenAtMs: number;
  readonly sessions: readonly OpenSession[];
  readonly marks: readonly HeadMark[];
  /** What a newer netseal has added, ascending by tag. It is kept as it is. Undefined for nothing. */
  readonly extensions?: readonly Extension[] | undefined;
}

export const HEAD_SESSIONS_MAX = 64;
export const HEAD_MARKS_MAX = 4096;
/** Length of the longest plaintext of a head. */
export const HEAD_BYTES_MAX: number = 256 * KIB;

const EPHEMERAL = 0x01;
const HAS_EXTENSIONS = 0x02;
const HASH_BYTES = 32;
const SESSION_BYTES_MIN: number = ID_BYTES + 2;
const MARK_BYTES_MIN: number = ID_BYTES + 1 + HASH_BYTES;

/**
 * Encodes a head. The caller owns the bytes. EINVAL for a head that {@link decodeClientHead} would refuse.
 */
export function encodeClientHead(head: Head): Uint8Array<ArrayBuffer> {
  const { isEphemeral, version, writtenAtMs, sessions, marks, extensions } = head;
  requireArgument(
    sessions.length <= HEAD_SESSIONS_MAX && marks.length <= HEAD_MARKS_MAX,
    `a head of ${sessions.length} sessions and ${marks.length} marks`,
  );
  const out = new ByteWriter();
  out.u8(LAYOUT_VERSION);
  out.u8((isEphemeral ? EPHEMERAL : 0) | (extensions === undefined ? 0 : HAS_EXTENSIONS));
  out.varint(version);
  out.varint(writtenAtMs);
  out.varint(sessions.length);
  const ordered = [...sessions].sort((left, right) => (left.id < right.id ? -1 : 1));
  for (const [at, { id, seenAtMs, oldestOpenMs }] of ordered.entries()) {
    requireArgument(id !== ordered[at - 1]?.id, `a head with two entries for session ${id}`);
    out.rawHex(id, ID_BYTES);
    out.varint(seenAtMs);
    out.varint(oldestOpenMs);
  }
  requireArgument(
    new Set(marks.map(({ id }) => id)).size === marks.length,
    'a head with two marks of one id',
  );
  out.varint(marks.length);
  for (const mark of marks) {
    out.rawHex(mark.id, ID_BYTES);
    out.varint(mark.version);
    out.rawHex(mark.hash, HASH_BYTES);
  }
  if (extensions !== undefined) encodeExtensions(out, extensions);
  return out.written;
}

/** Decodes a head. Throws EFORMAT or EUNSUPPORTED. */
export function decodeClientHead(bytes: Uint8Array): Head {
  const what = 'head of a client';
  const input = new ByteReader(bytes, what);
  readVersion(input, what);
  const flags = input.u8();
  if (flags > (EPHEMERAL | HAS_EXTENSIONS)) throw input.unsupported(`flags 0x${flags.toString(16)}`);
  const version = input.varint();
  const writtenAtMs = input.varint();
  const sessionsMax = Math.min(HEAD_SESSIONS_MAX, Math.floor(input.restBytes / SESSION_BYTES_MIN));
  const sessions: OpenSession[] = [];
  for (let left = input.varint(sessionsMax); left > 0; left -= 1) {
    const id = input.hex(ID_BYTES);
    const previous = sessions.at(-1);
    if (previous !== undefined && id <= previous.id) throw input.error('sessions out of order');
    sessions.push({ id, seenAtMs: input.varint(), oldestOpenMs: input.varint() });
  }
  const marksMax = Math.min(HEAD_MARKS_MAX, Math.floor(input.restBytes / MARK_BYTES_MIN));
  const marks = new Map<Id, HeadMark>();
  for (let left = input.varint(marksMax); left > 0; left -= 1) {
    const id = input.hex(ID_BYTES);
    if (marks.has(id)) throw input.error(`two marks of ${id}`);
    marks.set(id, { id, version: input.varint(), hash: input.hex(HASH_BYTES) });
  }
  const extended = (flags & HAS_EXTENSIONS) !== 0 ? { extensions: decodeExtensions(input) } : {};
  input.end();
  return {
    isEphemeral: (flags & EPHEMERAL) !== 0,
    version,
    writtenAtMs,
    sessions,
    marks: [...marks.values()],
    ...extended,
  };
}
