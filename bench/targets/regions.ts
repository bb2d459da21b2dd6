/**
 * What the records of dirty regions cost when there are many: files with 100 regions each, against one file with
 * as many regions as all of them together.
 */
import { createCipheriv, createSecretKey, randomBytes } from 'node:crypto';
import { Regions } from '../../src/netfs/regions/regions.ts';
import { type Contender, contest } from '../contest.ts';
import type { Measurement, Target, TargetSize } from '../target.ts';

const UNIT_BYTES = 4096;
const PLAIN = randomBytes(UNIT_BYTES);
const KEY = createSecretKey(randomBytes(32));
const NONCE = randomBytes(12);

/** How regions are spread over files. */
interface Spread {
  readonly name: string;
  readonly files: number;
  readonly regions: number;
}

function spreads(size: TargetSize): { few: Spread; many: Spread } {
  const [few, many] = size === 'real' ? [100, 100_000] : [10, 100];
  return {
    few: { name: `at ${few}`, files: many / few, regions: few },
    many: { name: `at ${many}`, files: 1, regions: many },
  };
}

/** The unit that is written as the `at`th of `count`: each once, in an order that jumps about. */
function unitAt(at: number, count: number): number {
  // A prime that divides no count in use.
  return (at * 7919) % count;
}

function write(file: Regions, unit: number): void {
  const from = unit * UNIT_BYTES + 100;
  const writer = file.reserve('ordinary', from, from + 1000);
  file.dirtied(writer, from + 1000);
  file.end(writer);
}

/** Makes files that have their regions in the even units. */
function makeFiles({ files, regions }: Spread): Regions[] {
  return Array.from({ length: files }, () => {
    const committed = { version: '1', sizeBytes: 2 * regions * UNIT_BYTES };
    const file = new Regions({ unitSizeBytes: UNIT_BYTES, committed });
    for (let at = 0; at < regions; at += 1) write(file, 2 * unitAt(at, regions));
    return file;
  });
}

/** Writes to odd units of every file, a tenth as many as it has regions. */
function inserter(spread: Spread): Contender {
  let files: Regions[] = [];
  const inserts = spread.regions / 10;
  return {
    name: spread.name,
    prepare: async () => {
      files = makeFiles(spread);
    },
    run: async () => {
      for (const file of files) {
        for (let at = 0; at < inserts; at += 1) write(file, 2 * unitAt(at, spread.regions) + 1);
      }
      const isRight = files.every(file => file.dirtyUnitCount === spread.regions + inserts);
      if (!isRight) throw new Error('regions are missing');
    },
  };
}

/** Begins writers in odd units and ends them, beside as many active ones in even units. */
function reserver(spread: Spread): Contender {
  const files = Array.from({ length: spread.files }, () => {
    const file = new Regions({ unitSizeBytes: UNIT_BYTES, committed: { version: '1', sizeBytes: 0 } });
    for (let at = 0; at < spread.regions; at += 1) {
      const from = 2 * unitAt(at, spread.regions) * UNIT_BYTES;
      file.reserve('ordinary', from, from + 1000);
    }
    return file;
  });
  return {
    name: spread.name,
    run: async () => {
      for (const file of files) {
        for (let at = 0; at < spread.regions / 10; at += 1) write(file, 2 * unitAt(at, spread.regions) + 1);
        if (file.writerCount !== spread.regions) throw new Error('writers are missing');
      }
    },
  };
}

/** Encrypts a unit: the least that a flush does besides its records. Returns the tag. */
function seal(): Uint8Array {
  const cipher = createCipheriv('aes-256-gcm', KEY, NONCE);
  cipher.update(PLAIN);
  cipher.final();
  return cipher.getAuthTag();
}

/** Flushes all regions of every file, each with the cipher's work for a stored unit, and commits. */
function flusher(spread: Spread): Contender {
  let files: Regions[] = [];
  return {
    name: spread.name,
    prepare: async () => {
      files = makeFiles(spread);
    },
    run: async () => {
      for (const file of files) flushAll(file, spread.regions);
    },
  };
}

function flushAll(file: Regions, regions: number): void {
  const group = file.closeGroup();
  if (group === undefined) throw new Error('nothing was written');
  for (const unit of file.toFlush('whole')) {
    const flush = file.beginFlush(unit);
    file.placed(flush, { tag: seal(), lengthBytes: UNIT_BYTES });
    file.uploaded(flush);
  }
  const { receipts, sizeBytes } = file.toCommit(group);
  if (receipts.size !== regions) throw new Error('records are missing');
  file.committed(group, { version: '2', sizeBytes });
  if (!file.isClean) throw new Error('something is left');
}

async function measure(size: TargetSize): Promise<readonly Measurement[]> {
  const { few, many } = spreads(size);
  const rounds = size === 'real' ? 5 : 1;
  const all = few.files * few.regions;
  const rows: Measurement[] = [];
  for (const [what, make, steps] of [
    ['inserting', inserter, all / 10],
    ['reserving', reserver, all / 10],
    ['flushing', flusher, all],
  ] as const) {
    const result = await contest([make(few), make(many)], rounds);
    const micros = [...result.seconds].map(
      ([name, seconds]) => `${((seconds / steps) * 1e6).toFixed(2)} µs ${name}`,
    );
    rows.push({
      what: `${what} at ${many.regions}, of at ${few.regions}`,
      measured: result.ratio(few.name, many.name),
      bound: 3,
      sense: '<=',
      unit: 'x',
      detail: micros.join(', '),
    });
  }
  return rows;
}

export const regions: Target = {
  id: 'regions',
  about: 'dirty regions of one file: what one costs among many, of what it costs among few',
  measure,
};
