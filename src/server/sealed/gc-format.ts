/**
 * A candidate list: what nothing referred to when a gc looked. `docs/LAYOUT.md`, "Garbage", is the
 * specification. Pure.
 *
 * The object holds one record or more. The plaintext of one record:
 *
 *   1       layout version, 2
 *   1       bit 0: another record follows; the other bits are 0
 *   varint  the server's time in ms since 1970
 *   -- segments, then inodes --
 *   varint  count
 *   -       each, ascending by id: id 16; varint, when it was written, in ms since 1970 by the store's clock
 */
import { ByteReader, ByteWriter } from '../../base/coder.ts';
import { requireArgument } from '../../base/errors.ts';
import { ID_BYTES, type Id } from '../../base/ids.ts';
import { LAYOUT_VERSION, readVersion } from './node-frame.ts';

/** By id, when each candidate was written: whole ms since 1970, by the store's clock. */
export type Candidates = ReadonlyMap<Id, number>;

export interface CandidateList {
  /** Later than all that the pass had read, in ms since 1970. */
  readonly timeMs: number;
  readonly segments: Candidates;
  readonly inodes: Candidates;
}

/** How many candidates one record takes. They stay well below the 16 MiB that a record holds. */
export const RECORD_CANDIDATES_MAX = 400_000;
const HAS_MORE = 0x01;
const CANDIDATE_BYTES_MIN = ID_BYTES + 1;

/**
 * Returns the plaintexts of a list's records, in order. EINVAL unless all times are whole numbers from 0 up.
 */
export function encodeCandidateList(
  list: CandidateList,
  candidatesMax: number = RECORD_CANDIDATES_MAX,
): Uint8Array[] {
  requireArgument(Number.isSafeInteger(candidatesMax) && candidatesMax > 0, 'a record must hold a candidate');
  const segments = sorted(list.segments);
  const inodes = sorted(list.inodes);
  const total = segments.length + inodes.length;
  const records: Uint8Array[] = [];
  for (let from = 0; from === 0 || from < total; from += candidatesMax) {
    const to = from + candidatesMax;
    const out = new ByteWriter();
    out.u8(LAYOUT_VERSION);
    out.u8(to < total ? HAS_MORE : 0);
    out.varint(list.timeMs);
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

/** Decodes one record of a list. `hasMore`: another record follows. EFORMAT, EUNSUPPORTED. */
export function decodeCandidateList(bytes: Uint8Array): {
  readonly list: CandidateList;
  readonly hasMore: boolean;
} {
  const input = new ByteReader(bytes, 'candidate list');
  readVersion(input, 'candidate list');
  const flags = input.u8();
  if (flags > HAS_MORE) throw input.error(`unknown flags 0x${flags.toString(16)}`);
  const timeMs = input.varint();
  const segments = decodeCandidates(input);
  const inodes = decodeCandidates(input);
  input.end();
  return { list: { timeMs, segments, inodes }, hasMore: flags === HAS_MORE };
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
