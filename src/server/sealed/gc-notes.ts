/** A gc's notes as objects of the store: marks, which wait to be confirmed, and orders, which are being carried out. */
import { NetsealError } from '../../base/errors.ts';
import { UNIT_BYTES_MAX } from '../../base/geometry.ts';
import { peekHeader } from '../../unit/record-format.ts';
import { compareKeys, type ListEntry, type ObjectStore } from '../store.ts';
import { decodeGcNote, encodeGcNote, type GcNote } from './gc-format.ts';
import { type Id, idOfKey, type MARK_PREFIX, type ORDER_PREFIX } from './ids.ts';
import type { Sealing } from './sealing.ts';

type NotesOf = Pick<Sealing, 'store' | 'control'>;

/** How many keys of a list are asked for at once. */
const LIST_LIMIT = 1000;

/** All entries of a prefix, page by page. EUNAVAILABLE when the store's pages do not go on. */
export async function* listAll(
  store: ObjectStore,
  prefix: string,
  signal?: AbortSignal,
): AsyncGenerator<ListEntry> {
  let after: string | undefined;
  do {
    const { entries, next } = await store.list({ prefix, after, limit: LIST_LIMIT, signal });
    yield* entries;
    if (next !== undefined && after !== undefined && compareKeys(next, after) <= 0) {
      throw new NetsealError(
        'EUNAVAILABLE',
        `${store.name}: the list of ${prefix} does not go on after ${after}`,
      );
    }
    after = next;
  } while (after !== undefined);
}

/** Ids of the notes under {@link MARK_PREFIX} or {@link ORDER_PREFIX}. */
export async function listGcNotes(
  { store }: NotesOf,
  prefix: typeof MARK_PREFIX | typeof ORDER_PREFIX,
  signal?: AbortSignal,
): Promise<Id[]> {
  const ids: Id[] = [];
  for await (const { key } of listAll(store, prefix, signal)) {
    const id = idOfKey(key, prefix);
    if (id !== undefined) ids.push(id);
  }
  return ids;
}

/** Seals and puts a note. What the store throws. */
export async function putGcNote(
  { store, control }: NotesOf,
  key: string,
  id: Id,
  note: GcNote,
  signal?: AbortSignal,
): Promise<void> {
  const parts = encodeGcNote(note).map(
    (plain, index) => control.seal({ kind: 'gcMark', objectId: id, index }, plain).bytes,
  );
  await store.put(key, parts, { bytesAreUnique: true, signal });
}

/** Reads a note. EMISSING, what opening it throws, EFORMAT, what the store throws. */
export async function readGcNote(
  { store, control }: NotesOf,
  key: string,
  id: Id,
  signal?: AbortSignal,
): Promise<GcNote> {
  const { bytes } = await store.get(key, { signal });
  const segments = new Map<Id, number>();
  const inodes = new Map<Id, number>();
  let offset = 0;
  for (let index = 0; ; index += 1) {
    const rest = bytes.subarray(offset);
    const { sealedLengthBytes } = peekHeader(rest);
    const sealed = rest.subarray(0, sealedLengthBytes);
    const { note, hasMore } = decodeGcNote(
      control.open({ kind: 'gcMark', objectId: id, index }, sealed, UNIT_BYTES_MAX),
    );
    for (const [segment, modifiedAtMs] of note.segments) segments.set(segment, modifiedAtMs);
    for (const [inode, modifiedAtMs] of note.inodes) inodes.set(inode, modifiedAtMs);
    offset += sealed.byteLength;
    if (hasMore) continue;
    if (offset < bytes.byteLength) throw new NetsealError('EFORMAT', `${key}: bytes after its last record`);
    return { timeMs: note.timeMs, segments, inodes };
  }
}
