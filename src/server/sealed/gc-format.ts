/**
 * What a gc writes down: candidates, which nothing referred to when it looked. `docs/LAYOUT.md`, "Garbage", is the
 * specification. Pure. An object of the store holds one record or more; this is the plaintext of one:
 *
 *   1       layout version, 1
 *   1       bit 0: more records follow; others 0
 *   varint  the server's time in ms since 1970
 *   -- segments, then inodes --
 *   varint  how many
 *   -       each, ascending by id: id 16, varint: when the store says that it was written, in ms since 1970
 */
import { ByteReader, ByteWriter } from '../../base/coder.ts';
import { requireArgument } from '../../base/errors.ts';
import { ID_BYTES } from '../../keys/tree.ts';
import type { Id } from './ids.ts';
import { LAYOUT_VERSION, readVersion } from './node-frame.ts';

/** When each candidate was written, in whole ms since 1970. */
export type Candidates = ReadonlyMap<Id, number>;

export interface GcNote {
  /** By the server's clock: everything was seen before. */
  readonly timeMs: number;
  readonly segments: Candidates;
  readonly inodes: Candidates;
}

/** Candidates in one record: well below the 16 MiB that one holds. */
export const NOTE_CANDIDATES_MAX = 400_000;
const HAS_MORE = 0x01;
const CANDIDATE_BYTES_MIN = ID_BYTES + 1;

/** The plaintexts of a note's records, in order. EINVAL for times that are no whole numbers from 0. */
export function encodeGcNote(note: GcNote, candidatesMax: number = NOTE_CANDIDATES_MAX): Uint8Array[] {
  requireArgument(candidatesMax > 0, 'a record must hold a candidate');
  const segments = sorted(note.segments);
  const inodes = sorted(note.inodes);
  const total = segments.length + inodes.length;
  const records: Uint8Array[] = [];
  for (let from = 0; from === 0 || from < total; from += candidatesMax) {
    const to = from + candidatesMax;
    const out = new ByteWriter();
    out.u8(LAYOUT_VERSION);
    out.u8(to < total ? HAS_MORE : 0);
    out.varint(note.timeMs);
    encodeCandidates(out, segments.slice(from, to));
    encodeCandidates(
      out,
      inodes.slice(Math.max(0, from - segments.length), Math.max(0, to - segments.length)),
    );
    records.push(out.written);
  }
  return records;
}

function encodeCandidates(out: ByteWriter, candidates: readonly (readonly [Id, number])[]): void {
  out.varint(candidates.length);
  for (const [id, modifiedAtMs] of candidates) {
    out.rawHex(id, ID_BYTES);
    out.varint(modifiedAtMs);
  }
}

/** One record of a note, and whether another follows. EFORMAT, EUNSUPPORTED. */
export function decodeGcNote(bytes: Uint8Array): { readonly note: GcNote; readonly hasMore: boolean } {
  const input = new ByteReader(bytes, 'gc note');
  readVersion(input, 'gc note');
  const flags = input.u8();
  if (flags > HAS_MORE) throw input.error(`unknown flags 0x${flags.toString(16)}`);
  const timeMs = input.varint();
  const segments = decodeCandidates(input);
  const inodes = decodeCandidates(input);
  input.end();
  return { note: { timeMs, segments, inodes }, hasMore: flags === HAS_MORE };
}

function decodeCandidates(input: ByteReader): Candidates {
  const count = input.varint(Math.floor(input.restBytes / CANDIDATE_BYTES_MIN));
  const candidates = new Map<Id, number>();
  let previous = '';
  for (let at = 0; at < count; at += 1) {
    const id = input.hex(ID_BYTES);
    if (id <= previous) throw input.error('candidates are not ascending');
    candidates.set(id, input.varint());
    previous = id;
  }
  return candidates;
}

function sorted(candidates: Candidates): (readonly [Id, number])[] {
  return [...candidates].sort(([left], [right]) => (left < right ? -1 : 1));
}
