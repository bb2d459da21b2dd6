/**
 * Measures small changes of large files: what they send, what they hold in memory, and how long they take against a
 * thread that reads, changes and writes one unit at a time.
 */
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { type Chance, seededChance } from '../../src/base/chance.ts';
import { SEGMENT_PREFIX } from '../../src/server/sealed/object-keys.ts';
import { BARE_NONCE_BYTES, BARE_TAG_BYTES, BareWorker } from '../bare-work.ts';
import { contest } from '../contest.ts';
import { executableCode } from '../data.ts';
import { inEachPlace } from '../places.ts';
import type { Measurement, Target, TargetSize } from '../target.ts';
import { type OpenVolume, VolumeSide } from '../volume-side.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const PIECE_BYTES = 4 * KIB;
const UNIT_BYTES = 256 * KIB;
const PATH = '/file';
const FLOOR = 'one unit at a time';

interface Scale {
  readonly dataBytes: number;
  readonly fileBytes: number;
  readonly count: number;
  readonly rounds: number;
  /** Memory of pages and of the pipeline together. */
  readonly budgets: readonly number[];
  readonly unitSizes: readonly number[];
}

function scaleOf(size: TargetSize): Scale {
  return size === 'real'
    ? {
        dataBytes: 64 * MIB,
        fileBytes: 256 * MIB,
        count: 2000,
        rounds: 5,
        budgets: [96 * MIB, 512 * MIB],
        unitSizes: [256 * KIB, 64 * KIB, 16 * KIB, 4 * KIB],
      }
    : {
        dataBytes: 4 * MIB,
        fileBytes: 8 * MIB,
        count: 20,
        rounds: 1,
        budgets: [32 * MIB],
        unitSizes: [256 * KIB],
      };
}

/** A write of `PIECE_BYTES`: where it goes, and where in the data its bytes are. */
interface Edit {
  readonly position: number;
  readonly from: number;
}

function makeEdits({ fileBytes, dataBytes, count }: Scale, isAligned: boolean, chance: Chance): Edit[] {
  const step = isAligned ? PIECE_BYTES : 1;
  const below = (limit: number): number => step * Math.floor((chance() * limit) / step);
  return Array.from({ length: count }, () => ({
    position: below(fileBytes - PIECE_BYTES),
    from: below(dataBytes - PIECE_BYTES),
  }));
}

function pieceOf(data: Uint8Array, { from }: Edit): Uint8Array {
  return data.subarray(from, from + PIECE_BYTES);
}

function touchedUnits(edits: readonly Edit[], unitBytes: number): Set<number> {
  return new Set(
    edits.flatMap(({ position }) => [
      Math.floor(position / unitBytes),
      Math.floor((position + PIECE_BYTES - 1) / unitBytes),
    ]),
  );
}

/** Bytes of segments: of records, of pages of the map, and of their footers. */
function segmentBytes({ requests }: OpenVolume): number {
  return requests
    .filter(({ key }) => key.startsWith(SEGMENT_PREFIX))
    .reduce((sum, { sentBytes }) => sum + sentBytes, 0);
}

/** Writes the file. Returns how many bytes of segments it took. */
async function makeFile(
  side: VolumeSide,
  data: Uint8Array,
  unitSizeBytes: number,
  scale: Scale,
): Promise<number> {
  const open = await side.open();
  const file = await open.volume.open(PATH, 'w', 0o644, { unitSizeBytes });
  for (let position = 0; position < scale.fileBytes; position += MIB) {
    const at = position % scale.dataBytes;
    await file.write(data.subarray(at, at + MIB), { position });
  }
  await file.close();
  const sentBytes = segmentBytes(open);
  await open.close();
  return sentBytes;
}

/** Throws unless another client reads the file as it was, with all edits in it. */
async function checkFile(
  side: VolumeSide,
  data: Uint8Array,
  edits: readonly Edit[],
  { fileBytes, dataBytes }: Scale,
): Promise<void> {
  const expected = Buffer.allocUnsafeSlow(fileBytes);
  for (let at = 0; at < fileBytes; at += dataBytes) expected.set(data.subarray(0, dataBytes), at);
  for (const edit of edits) expected.set(pieceOf(data, edit), edit.position);
  const open = await side.open('reader');
  const file = await open.volume.open(PATH);
  const into = Buffer.allocUnsafeSlow(MIB);
  for (let position = 0; position < fileBytes; position += MIB) {
    const { bytesRead } = await file.read(into, { position });
    if (bytesRead !== MIB || into.compare(expected, position, position + MIB) !== 0)
      throw new Error(`other bytes from ${position} on`);
  }
  await file.close();
  await open.close();
}

/** What one pass of edits in a session that has just started came to. */
interface Pass {
  readonly sentBytes: number;
  readonly heldBytes: number;
  readonly seconds: number;
}

async function overwrite(
  side: VolumeSide,
  data: Uint8Array,
  edits: readonly Edit[],
  pageBytes: number,
): Promise<Pass> {
  const open = await side.open('client', { pageBytes });
  const file = await open.volume.open(PATH, 'r+');
  const startedMs = performance.now();
  for (const edit of edits) await file.write(pieceOf(data, edit), { position: edit.position });
  const heldBytes = open.volume.inspect().pages?.heldBytes ?? 0;
  await file.sync();
  const seconds = (performance.now() - startedMs) / 1000;
  const sentBytes = segmentBytes(open);
  await file.close();
  await open.close();
  return { sentBytes, heldBytes, seconds };
}

/** Measures what is sent and held, with one budget, aligned or not. */
async function economy(
  folder: string,
  data: Uint8Array,
  scale: Scale,
  budgetBytes: number,
  isAligned: boolean,
): Promise<Measurement[]> {
  const side = await VolumeSide.create(folder, { memoryBytes: budgetBytes / 2 });
  try {
    const madeBytes = await makeFile(side, data, UNIT_BYTES, scale);
    const edits = makeEdits(scale, isAligned, seededChance(1));
    const { sentBytes, heldBytes, seconds } = await overwrite(side, data, edits, budgetBytes / 2);
    await checkFile(side, data, edits, scale);
    const touched = touchedUnits(edits, UNIT_BYTES).size;
    const storedBytes = touched * (madeBytes / (scale.fileBytes / UNIT_BYTES));
    const writtenBytes = edits.length * PIECE_BYTES;
    const what = `${isAligned ? 'aligned' : 'not aligned'}, ${budgetBytes / MIB} MiB of memory`;
    return [
      {
        // Pages of the map are in what was sent. They have no allowance of their own: they are below 1 %.
        what: `sent, of the touched units, ${what}`,
        measured: sentBytes / storedBytes,
        bound: 1.05,
        sense: '<=',
        unit: 'x',
        detail: `${edits.length} writes in ${touched} units: ${(sentBytes / MIB).toFixed(1)} MiB in ${seconds.toFixed(2)} s`,
      },
      {
        what: `held, of what was written, ${what}`,
        measured: heldBytes / writtenBytes,
        bound: 2.2,
        sense: '<=',
        unit: 'x',
        detail: `${(heldBytes / MIB).toFixed(1)} MiB of pages for ${(writtenBytes / MIB).toFixed(1)} MiB`,
      },
    ];
  } finally {
    await side.stop();
  }
}

/** A thread with a file of sealed units in slots, which it changes one at a time. */
class BareUnits {
  readonly #unitBytes: number;
  readonly #slotBytes: number;
  readonly #worker: BareWorker;
  readonly #file: number;
  readonly #lengths: number[] = [];

  constructor(path: string, data: Uint8Array, unitBytes: number, fileBytes: number) {
    this.#unitBytes = unitBytes;
    this.#slotBytes = 2 * unitBytes;
    this.#worker = new BareWorker(unitBytes);
    this.#file = openSync(path, 'w+');
    for (let unit = 0; unit < fileBytes / unitBytes; unit += 1) {
      const at = (unit * unitBytes) % data.byteLength;
      this.#write(unit, data.subarray(at, at + unitBytes));
    }
  }

  change(position: number, piece: Uint8Array): void {
    for (let done = 0; done < piece.byteLength; ) {
      const unit = Math.floor((position + done) / this.#unitBytes);
      const within = (position + done) % this.#unitBytes;
      const length = Math.min(piece.byteLength - done, this.#unitBytes - within);
      const plain = this.read(unit);
      plain.set(piece.subarray(done, done + length), within);
      this.#write(unit, plain);
      done += length;
    }
  }

  read(unit: number): Uint8Array {
    const record = Buffer.allocUnsafeSlow(this.#lengths[unit]!);
    readSync(this.#file, record, 0, record.byteLength, unit * this.#slotBytes);
    const end = record.byteLength - BARE_TAG_BYTES;
    return this.#worker.open({
      nonce: record.subarray(0, BARE_NONCE_BYTES),
      ciphertext: record.subarray(BARE_NONCE_BYTES, end),
      tag: record.subarray(end),
    });
  }

  close(): void {
    closeSync(this.#file);
  }

  #write(unit: number, plain: Uint8Array): void {
    const { nonce, ciphertext, tag } = this.#worker.seal(plain);
    const record = Buffer.concat([nonce, ciphertext, tag]);
    this.#lengths[unit] = record.byteLength;
    writeSync(this.#file, record, 0, record.byteLength, unit * this.#slotBytes);
  }
}

/** Compares edits and a sync with a thread that changes one unit at a time. */
async function speed(
  folder: string,
  data: Uint8Array,
  scale: Scale,
  unitBytes: number,
): Promise<Measurement> {
  const side = await VolumeSide.create(`${folder}/volume`);
  const bare = new BareUnits(`${folder}/bare`, data, unitBytes, scale.fileBytes);
  try {
    await makeFile(side, data, unitBytes, scale);
    const edits = makeEdits(scale, true, seededChance(2));
    let session: OpenVolume | undefined;
    const result = await contest(
      [
        {
          name: FLOOR,
          run: async () => {
            for (const edit of edits) bare.change(edit.position, pieceOf(data, edit));
          },
        },
        {
          name: 'open file',
          prepare: async () => {
            await session?.close();
            session = await side.open();
          },
          run: async () => {
            const file = await session!.volume.open(PATH, 'r+');
            for (const edit of edits) await file.write(pieceOf(data, edit), { position: edit.position });
            await file.sync();
            await file.close();
          },
        },
      ],
      scale.rounds,
    );
    await session?.close();
    await checkFile(side, data, edits, scale);
    const [ours, floor] = [result.seconds.get('open file')!, result.seconds.get(FLOOR)!];
    return {
      what: `of one unit at a time, units of ${unitBytes / KIB} KiB`,
      measured: result.ratio('open file', FLOOR),
      bound: 3,
      sense: '>=',
      unit: 'x',
      detail: `${edits.length} writes and a sync: ${ours.toFixed(3)} s, one at a time ${floor.toFixed(3)} s; zstd:1`,
    };
  } finally {
    bare.close();
    await side.stop();
  }
}

export const overwrite4k: Target = {
  id: 'overwrite-4k',
  about:
    'writes of 4 KiB at random in a file that is cold, and a sync: bytes to the store, memory, and time against a thread that changes one unit at a time',
  measure: async size => {
    const scale = scaleOf(size);
    const data = executableCode(scale.dataBytes);
    const inMemory = (measure: (folder: string) => Promise<readonly Measurement[]>): Promise<Measurement[]> =>
      inEachPlace(4 * scale.fileBytes, async (folder, place) => (place === 'tmpfs' ? measure(folder) : []));
    const rows: Measurement[] = [];
    for (const budgetBytes of scale.budgets) {
      for (const isAligned of [true, false]) {
        rows.push(
          ...(await inMemory(folder => economy(`${folder}/volume`, data, scale, budgetBytes, isAligned))),
        );
      }
    }
    for (const unitBytes of scale.unitSizes)
      rows.push(...(await inMemory(async folder => [await speed(folder, data, scale, unitBytes)])));
    return rows;
  },
};
