/** Reading a dirty region again: after a crash, and when it becomes a clean one. */
import { crc32 } from 'node:zlib';
import { HEADER_BYTES, peekHeader, RECORD_KINDS } from '../unit/record-format.ts';
import { type DirtyHead, decodeDirtyHead } from './dirty-format.ts';
import { type CacheFile, readFully } from './files.ts';
import { GRANULE_BYTES } from './index-table.ts';
import { isDamage, type Seals } from './seals.ts';

/** How a batch's head begins: magic, version, kind. */
const HEAD_START: Buffer = Buffer.from([0x6e, 0x53, 0x72, 0x63, 1, RECORD_KINDS.journalRecord]);

export interface FoundHead {
  readonly offsetBytes: number;
  readonly headBytes: number;
  readonly head: DirtyHead;
}

export interface FoundHeads {
  readonly heads: FoundHead[];
  /** Where what is no batch begins, ascending. */
  readonly gaps: number[];
}

/** The heads of batches, and where something lies between them that is none. System errors as they come. */
export async function readHeads(
  seals: Seals,
  name: Uint8Array,
  file: CacheFile,
  fileBytes: number,
): Promise<FoundHeads> {
  const found: FoundHeads = { heads: [], gaps: [] };
  for (let offsetBytes = 0; offsetBytes + HEADER_BYTES <= fileBytes; ) {
    const head = await readHead(seals, name, file, fileBytes, offsetBytes);
    if (head !== undefined) {
      found.heads.push(head);
      offsetBytes += head.head.lengthBytes;
      continue;
    }
    found.gaps.push(offsetBytes);
    const next = await nextHead(seals, name, file, fileBytes, offsetBytes);
    if (next === undefined) break;
    offsetBytes = next;
  }
  return found;
}

async function readHead(
  seals: Seals,
  name: Uint8Array,
  file: CacheFile,
  fileBytes: number,
  offsetBytes: number,
): Promise<FoundHead | undefined> {
  try {
    const start = new Uint8Array(HEADER_BYTES);
    await readFully(file, start, offsetBytes);
    const header = peekHeader(start);
    if (header.kind !== RECORD_KINDS.journalRecord) return undefined;
    if (offsetBytes + header.sealedLengthBytes > fileBytes) return undefined;
    const sealed = new Uint8Array(header.sealedLengthBytes);
    await readFully(file, sealed, offsetBytes);
    const head = decodeDirtyHead(seals, name, offsetBytes, sealed);
    if (head.lengthBytes < sealed.byteLength || offsetBytes + head.lengthBytes > fileBytes) return undefined;
    return { offsetBytes, headBytes: sealed.byteLength, head };
  } catch (error) {
    if (isDamage(error)) return undefined;
    throw error;
  }
}

/** Where the next head behind a damaged place begins. Only what a crash has left behind, or is damaged, is looked through. */
async function nextHead(
  seals: Seals,
  name: Uint8Array,
  file: CacheFile,
  fileBytes: number,
  fromBytes: number,
): Promise<number | undefined> {
  const bytes = Buffer.alloc(fileBytes - fromBytes);
  await readFully(file, bytes, fromBytes);
  for (let at = bytes.indexOf(HEAD_START, 1); at >= 0; at = bytes.indexOf(HEAD_START, at + 1)) {
    if (at % GRANULE_BYTES !== 0) continue;
    if ((await readHead(seals, name, file, fileBytes, fromBytes + at)) !== undefined) return fromBytes + at;
  }
  return undefined;
}

/** Whether every unit of a batch is there as it was written. */
export async function isWhole(file: CacheFile, offsetBytes: number, { units }: DirtyHead): Promise<boolean> {
  for (const unit of units) {
    const bytes = new Uint8Array(unit.lengthBytes);
    await readFully(file, bytes, offsetBytes + unit.offsetBytes);
    if (crc32(bytes) !== unit.crc32) return false;
  }
  return true;
}
