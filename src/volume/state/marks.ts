/**
 * Marks: what this client remembers of each inode object and of each client's head. A mark is the highest
 * version that the client has seen or heard of, with the hash of its sealed record. With its mark, a client
 * notices when a server shows an older version (EROLLBACK), or the same version with other content (EFORK).
 *
 * Invariants
 *   1. A mark's version never gets lower. One version has one hash: once two were seen, every hash of that
 *      version is refused.
 *   2. Only authenticated records are checked, and only those that pass are noted. What the store has not
 *      acknowledged is never noted.
 *   3. There are at most `marksMax` marks. Beyond that, the mark that was noted longest ago is forgotten.
 *      Losing marks weakens protection; it never makes a client refuse what is right.
 *   4. An entry of the log counts only with its MAC, which binds it to the volume.
 *
 * The log is a list of entries, little-endian, only appended to. For each id the entry with the highest
 * version counts:
 *
 *   0   16  id
 *   16   8  version
 *   24  32  SHA-256 of the sealed record; zeros: this version was seen with two hashes
 *   56  16  the first half of HMAC-SHA256 over volume id ‖ the 56 bytes before
 */
import { createHmac, createSecretKey, type KeyObject } from 'node:crypto';
import { equalBytes, getU64, setU64, viewOf } from '../../base/bytes.ts';
import { NetsealError, requireArgument } from '../../base/errors.ts';
import { checkId, type Id } from '../../base/ids.ts';

export interface Mark {
  readonly version: number;
  /** SHA-256 of the sealed record, in lower-case hexadecimal. */
  readonly hash: string;
}

export const MARKS_MAX = 1_000_000;
export const MARK_BYTES = 72;

const VERSION_OFFSET = 16;
const HASH_OFFSET = 24;
const MAC_OFFSET = 56;
const HASH_PATTERN = /^[0-9a-f]{64}$/;
/** The hash of a mark whose version was seen with two hashes. No record has it. */
export const TWO_HISTORIES: string = '0'.repeat(64);

export class Marks {
  /** In the order in which they were noted, oldest first. */
  readonly #marks = new Map<Id, Mark>();
  readonly #marksMax: number;
  #unsaved = new Set<Id>();
  #damagedCount = 0;

  /** @param marksMax at least 1. */
  constructor(marksMax: number = MARKS_MAX) {
    this.#marksMax = marksMax;
  }

  get size(): number {
    return this.#marks.size;
  }

  /** How many entries of the log did not count, because of a wrong MAC or an impossible version. */
  get damagedCount(): number {
    return this.#damagedCount;
  }

  get(id: Id): Mark | undefined {
    return this.#marks.get(id);
  }

  entries(): IterableIterator<[Id, Mark]> {
    return this.#marks.entries();
  }

  /**
   * Compares a version with its mark. EROLLBACK when it is lower; EFORK when it is equal and the hash is not.
   *
   * @param hash SHA-256 of the sealed record, lower-case hexadecimal.
   */
  check(id: Id, version: number, hash: string): void {
    const mark = this.#marks.get(id);
    if (mark === undefined || version > mark.version) return;
    if (version < mark.version) {
      throw new NetsealError(
        'EROLLBACK',
        `inode ${id}: version ${version} is older than ${mark.version}, which was seen before`,
      );
    }
    if (hash !== mark.hash) {
      throw new NetsealError(
        'EFORK',
        `inode ${id}: version ${version} is another than the version ${mark.version} that was seen before`,
      );
    }
  }

  /**
   * Checks a version, then remembers it as the mark. Errors: those of {@link check}; EINVAL when it cannot be
   * stored.
   */
  note(id: Id, version: number, hash: string): void {
    checkId(id);
    requireArgument(
      Number.isSafeInteger(version) && version >= 0 && HASH_PATTERN.test(hash),
      `not a mark: version ${version} with hash ${JSON.stringify(hash).slice(0, 80)}`,
    );
    this.check(id, version, hash);
    const isNew = this.#marks.get(id)?.version !== version;
    this.#set(id, { version, hash });
    if (isNew) this.#unsaved.add(id);
  }

  /**
   * Takes over an entry of the log. Never throws: the higher version wins, and two hashes of one version are
   * remembered.
   */
  merge(id: Id, { version, hash }: Mark): void {
    const mark = this.#marks.get(id);
    if (mark !== undefined && version < mark.version) return;
    const isFork = mark?.version === version && mark.hash !== hash;
    this.#set(id, { version, hash: isFork ? TWO_HISTORIES : hash });
    if (isFork && hash !== TWO_HISTORIES) this.#unsaved.add(id);
    else this.#unsaved.delete(id);
  }

  /**
   * Takes over a mark of another client. Never throws.
   *
   * @returns `newer` when this client did not know that the version exists; `fork` when the version was seen
   *   with two hashes: by this client, by the other, or one by each.
   */
  learn(id: Id, { version, hash }: Mark): 'known' | 'newer' | 'fork' {
    const mark = this.#marks.get(id);
    if (mark !== undefined && version < mark.version) return 'known';
    const isKnown = mark?.version === version;
    const isFork = hash === TWO_HISTORIES || (isKnown && mark.hash !== hash);
    if (isKnown && (!isFork || mark.hash === TWO_HISTORIES)) return isFork ? 'fork' : 'known';
    this.#set(id, { version, hash: isFork ? TWO_HISTORIES : hash });
    this.#unsaved.add(id);
    return isFork ? 'fork' : 'newer';
  }

  /** Returns the `count` marks noted last, newest first, leaving out the ids in `except`. */
  latest(count: number, except: ReadonlySet<Id>): [Id, Mark][] {
    const latest: [Id, Mark][] = [];
    let skip = this.#marks.size - count - except.size;
    for (const entry of this.#marks) {
      if (skip > 0) skip -= 1;
      else if (!except.has(entry[0])) latest.push(entry);
    }
    return latest.reverse().slice(0, count);
  }

  /** Counts the marks of these ids as noted just now, so that {@link latest} returns them before others. */
  renew(ids: Iterable<Id>): void {
    for (const id of ids) {
      const mark = this.#marks.get(id);
      if (mark !== undefined) this.#set(id, mark);
    }
  }

  countDamaged(): void {
    this.#damagedCount += 1;
  }

  /** How many ids {@link takeUnsaved} would return. */
  get unsavedCount(): number {
    return this.#unsaved.size;
  }

  /**
   * Returns the ids noted since the last call. The caller saves their marks, or gives the ids back to {@link
   * returnUnsaved}.
   */
  takeUnsaved(): ReadonlySet<Id> {
    const unsaved = this.#unsaved;
    this.#unsaved = new Set();
    return unsaved;
  }

  returnUnsaved(ids: Iterable<Id>): void {
    for (const id of ids) this.#unsaved.add(id);
  }

  #set(id: Id, mark: Mark): void {
    this.#marks.delete(id);
    this.#marks.set(id, mark);
    if (this.#marks.size <= this.#marksMax) return;
    const [oldest] = this.#marks.keys();
    if (oldest !== undefined) this.#marks.delete(oldest);
  }
}

/** After so many answers in a row that were overtaken, something is wrong. */
const READS_MAX = 64;

/**
 * Reads an object and compares it with its mark.
 *
 * While the answer is on its way, this process may commit or hear of a newer version. Then the answer is
 * overtaken, and the store is asked again. An answer that is older than the mark was when the request began
 * is not overtaken but wrong: it goes to `take`, where it fails {@link Marks.check}.
 *
 * @param versionOf returns undefined for an answer that no mark is about.
 * @param take checks the answer and notes it. It must do so at once, before anything else can change the
 *   mark.
 * @returns what `take` returns. ECONFLICT when too many answers in a row were overtaken.
 */
export async function readBesideMark<Answer, Taken>(
  marks: Marks,
  id: Id,
  read: () => Promise<Answer>,
  versionOf: (answer: Answer) => number | undefined,
  take: (answer: Answer) => Taken,
): Promise<Taken> {
  for (let attempt = 1; attempt <= READS_MAX; attempt += 1) {
    const known = marks.get(id)?.version ?? 0;
    const answer = await read();
    const version = versionOf(answer);
    // Each time round the mark is higher than before.
    const isOvertaken = version !== undefined && version >= known && version < (marks.get(id)?.version ?? 0);
    if (!isOvertaken) return take(answer);
  }
  throw new NetsealError('ECONFLICT', `${id} changes faster than it can be read: try again later`);
}

/** Encodes and decodes entries of the log. */
export class MarkCoder {
  readonly #key: KeyObject;
  /** The input of a MAC: volume id ‖ the first 56 bytes of an entry. */
  readonly #input: Buffer;
  readonly #mac: Buffer = Buffer.alloc(MARK_BYTES - MAC_OFFSET);

  /**
   * Copies both.
   *
   * @param key 32 bytes.
   * @param volumeId 16 bytes.
   */
  constructor(key: Uint8Array, volumeId: Uint8Array) {
    this.#key = createSecretKey(key);
    this.#input = Buffer.concat([volumeId, new Uint8Array(MAC_OFFSET)]);
  }

  /** Encodes one entry for each mark, one after another. The caller owns the bytes. */
  encode(marks: readonly (readonly [Id, Mark])[]): Uint8Array<ArrayBuffer> {
    const bytes = Buffer.alloc(marks.length * MARK_BYTES);
    const view = viewOf(bytes);
    for (const [index, [id, { version, hash }]] of marks.entries()) {
      const at = index * MARK_BYTES;
      bytes.write(id, at, 'hex');
      setU64(view, at + VERSION_OFFSET, version);
      bytes.write(hash, at + HASH_OFFSET, 'hex');
      bytes.set(this.#macOf(bytes, at), at + MAC_OFFSET);
    }
    return bytes;
  }

  /**
   * Merges whole entries into `marks`. Counts those with a wrong MAC, and ignores an incomplete one at the
   * end.
   */
  decodeInto(marks: Marks, entries: Uint8Array): void {
    const bytes = Buffer.from(entries.buffer, entries.byteOffset, entries.byteLength);
    const view = viewOf(bytes);
    for (let at = 0; at + MARK_BYTES <= bytes.byteLength; at += MARK_BYTES) {
      const version = getU64(view, at + VERSION_OFFSET);
      const mac = bytes.subarray(at + MAC_OFFSET, at + MARK_BYTES);
      if (version === undefined || !equalBytes(this.#macOf(bytes, at), mac)) {
        marks.countDamaged();
        continue;
      }
      const hash = bytes.toString('hex', at + HASH_OFFSET, at + MAC_OFFSET);
      marks.merge(bytes.toString('hex', at, at + VERSION_OFFSET), { version, hash });
    }
  }

  /** Returns the MAC of the entry at `at`, in a buffer that the next call overwrites. */
  #macOf(bytes: Buffer, at: number): Uint8Array {
    bytes.copy(this.#input, this.#input.byteLength - MAC_OFFSET, at, at + MAC_OFFSET);
    // A digest as a string costs a tenth of a digest in a buffer of its own, and a log may have a million
    // entries.
    const digest = createHmac('sha256', this.#key).update(this.#input).digest('hex');
    // This writes as much as fits: the first half.
    this.#mac.write(digest, 'hex');
    return this.#mac;
  }
}
