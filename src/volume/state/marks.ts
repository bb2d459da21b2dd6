/**
 * Marks: for each inode object, and each client's head, the highest version that this client has seen or heard of, with the
 * hash of its sealed record. They tell a server that shows an older one (EROLLBACK), or another one of the same version (EFORK).
 *
 * Invariants
 *   1. A mark's version never gets lower, and one version has one hash: once it had two, every hash of it is refused.
 *   2. Only authenticated records are checked, and only what passed is noted. What the store has not acknowledged is not.
 *   3. At most `marksMax` marks: beyond that the one is forgotten whose object was noted longest ago. Losing marks weakens
 *      protection, and never refuses what is right.
 *   4. A record of the log is believed only with its MAC, which binds it to the volume.
 *
 * The log is records one after another, little-endian, only appended to; the highest version of an id counts:
 *
 *   0   16  id
 *   16   8  version
 *   24  32  SHA-256; zeros: this version has been seen with two hashes
 *   56  16  HMAC-SHA256 over volume id ‖ the 56 bytes before, its first half
 */
import { createHmac, createSecretKey, type KeyObject } from 'node:crypto';
import { equalBytes, getU64, setU64, viewOf } from '../../base/bytes.ts';
import { NetsealError, requireArgument } from '../../base/errors.ts';
import { checkId, type Id } from '../../base/ids.ts';

export interface Mark {
  readonly version: number;
  /** SHA-256 in lower-case hexadecimal. */
  readonly hash: string;
}

export const MARKS_MAX = 1_000_000;
export const MARK_BYTES = 72;

const VERSION_OFFSET = 16;
const HASH_OFFSET = 24;
const MAC_OFFSET = 56;
const HASH_PATTERN = /^[0-9a-f]{64}$/;
/** No record has this hash. */
export const TWO_HISTORIES: string = '0'.repeat(64);

export class Marks {
  /** The one noted longest ago comes first. */
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

  /** Records of the log that were not believed. */
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
   * EROLLBACK when `version` is lower than the mark, EFORK when it is equal and the hash is another.
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

  /** Checks, then remembers. EINVAL when it could not be stored. */
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

  /** Takes over what the log holds. Never throws: the higher version wins, and two hashes of one are remembered. */
  merge(id: Id, { version, hash }: Mark): void {
    const mark = this.#marks.get(id);
    if (mark !== undefined && version < mark.version) return;
    const isFork = mark?.version === version && mark.hash !== hash;
    this.#set(id, { version, hash: isFork ? TWO_HISTORIES : hash });
    if (isFork && hash !== TWO_HISTORIES) this.#unsaved.add(id);
    else this.#unsaved.delete(id);
  }

  /**
   * Takes over what another client says to have seen. Never throws.
   *
   * @returns `newer` when we did not know that this version exists; `fork` when it is one that has been seen with two hashes,
   *   here, there, or by the two of us.
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

  /** The `count` marks noted last, newest first, without those of `except`. */
  latest(count: number, except: ReadonlySet<Id>): [Id, Mark][] {
    const latest: [Id, Mark][] = [];
    let skip = this.#marks.size - count - except.size;
    for (const entry of this.#marks) {
      if (skip > 0) skip -= 1;
      else if (!except.has(entry[0])) latest.push(entry);
    }
    return latest.reverse().slice(0, count);
  }

  countDamaged(): void {
    this.#damagedCount += 1;
  }

  /** How many marks {@link takeUnsaved} would return. */
  get unsavedCount(): number {
    return this.#unsaved.size;
  }

  /** What was noted since the last call; give it back to {@link returnUnsaved} if it could not be saved. */
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

/** More answers in a row that others were quicker than, and something is wrong. */
const READS_MAX = 64;

/**
 * Reads what has a mark, and is to be held against it. An answer may be older than what this process has committed or heard of
 * while it was on its way; then the store is asked again. One that is older than what was known when it was asked for is
 * taken all the same: it does not pass {@link Marks.check}. ECONFLICT when others were quicker too often.
 *
 * @param versionOf undefined for an answer that no mark is about.
 * @param take checks and notes. At once, before anything else can change the mark.
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

/** Encodes and decodes the log's records. */
export class MarkCoder {
  readonly #key: KeyObject;
  /** Volume id ‖ a record's first 56 bytes: what a MAC is over. */
  readonly #input: Buffer;
  readonly #mac: Buffer = Buffer.alloc(MARK_BYTES - MAC_OFFSET);

  /** Copies both. @param key 32 bytes. @param volumeId 16 bytes. */
  constructor(key: Uint8Array, volumeId: Uint8Array) {
    this.#key = createSecretKey(key);
    this.#input = Buffer.concat([volumeId, new Uint8Array(MAC_OFFSET)]);
  }

  /** The records of these marks; the caller owns them. */
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

  /** Merges whole records into `marks`; an incomplete one at the end is ignored. Those without a right MAC are counted. */
  decodeInto(marks: Marks, records: Uint8Array): void {
    const bytes = Buffer.from(records.buffer, records.byteOffset, records.byteLength);
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

  /** Valid until the next call. */
  #macOf(bytes: Buffer, at: number): Uint8Array {
    bytes.copy(this.#input, this.#input.byteLength - MAC_OFFSET, at, at + MAC_OFFSET);
    // A digest as a string costs a tenth of one in a buffer of its own, and a log may have a million records.
    const digest = createHmac('sha256', this.#key).update(this.#input).digest('hex');
    // Writes as much as it holds.
    this.#mac.write(digest, 'hex');
    return this.#mac;
  }
}
