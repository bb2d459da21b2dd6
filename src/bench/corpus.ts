/**
 * The built-in corpus: seven kinds of data, for users who give no files. Six kinds are made from fixed seeds,
 * so they are the same everywhere. The executable code is the Node binary of this machine.
 */
import { createCipheriv } from 'node:crypto';
import { isNetsealError, messageOf } from '../base/errors.ts';
import { KIB, MIB } from '../base/geometry.ts';
import { formatSize } from './format.ts';
import { readSamples, type Sample, type SampleSet } from './samples.ts';
import { Shuffler } from './shuffler.ts';

/** The size of each kind of data, unless a unit is larger. */
export const KIND_BYTES_DEFAULT: number = 4 * MIB;

export interface CorpusSettings {
  /** The largest unit size under comparison. No kind is smaller than that. */
  readonly chunkBytes: number;
  /** Default {@link KIND_BYTES_DEFAULT}. */
  readonly kindBytes?: number;
}

const SYLLABLES = [
  'ar',
  'ben',
  'cor',
  'del',
  'en',
  'fil',
  'ga',
  'hex',
  'in',
  'ker',
  'lo',
  'map',
  'node',
  'op',
  'page',
  'que',
  're',
  'seg',
  'tag',
  'un',
  'val',
  'work',
  'xi',
  'yes',
  'zon',
] as const;

function makeWords(shuffler: Shuffler, count: number): string[] {
  return Array.from({ length: count }, () =>
    Array.from({ length: 1 + shuffler.below(3) }, () => shuffler.pick(SYLLABLES)).join(''),
  );
}

/** Returns `lengthBytes` of ASCII text: lines from `makeLine`, the last one cut. */
function textOf(lengthBytes: number, makeLine: (lineIndex: number) => string): Uint8Array {
  const bytes = Buffer.alloc(lengthBytes);
  let filled = 0;
  for (let lineIndex = 0; filled < lengthBytes; lineIndex++)
    filled += bytes.write(makeLine(lineIndex), filled, 'latin1');
  return bytes;
}

function makeSource(lengthBytes: number): Uint8Array {
  const shuffler = new Shuffler(0x5eed_0001);
  const words = makeWords(shuffler, 3000);
  const word = (): string => words[shuffler.skewedBelow(words.length)] ?? 'value';
  const indent = (): string => '  '.repeat(1 + shuffler.below(4));
  return textOf(lengthBytes, lineIndex => {
    if (lineIndex % 12 === 0)
      return `}\n\n/** ${word()} ${word()} the ${word()} of ${word()}, ${word()}. */\n`;
    if (lineIndex % 12 === 1)
      return `export function ${word()}(${word()}: number, ${word()}: Uint8Array): void {\n`;
    switch (shuffler.below(5)) {
      case 0:
        return `${indent()}const ${word()} = ${word()}.${word()}(${word()}, ${shuffler.below(256)});\n`;
      case 1:
        return `${indent()}if (${word()}.${word()} !== ${word()}) return ${word()};\n`;
      case 2:
        return `${indent()}// ${word()} ${word()} ${word()} is not ${word()} ${word()} before ${word()}\n`;
      case 3:
        return `${indent()}this.#${word()}.set('${word()}-${word()}', { ${word()}: ${word()} });\n`;
      default:
        return `${indent()}for (const ${word()} of ${word()}.${word()}()) ${word()}(${word()});\n`;
    }
  });
}

function makeLogs(lengthBytes: number): Uint8Array {
  const shuffler = new Shuffler(0x5eed_0002);
  const paths = makeWords(shuffler, 400);
  let timeMs = Date.UTC(2026, 0, 1);
  return textOf(lengthBytes, () => {
    timeMs += shuffler.below(900);
    const path = paths[shuffler.skewedBelow(paths.length)];
    const id = shuffler.below(0xffff_ffff).toString(16).padStart(8, '0');
    const level = shuffler.pick(['info', 'info', 'info', 'warn', 'error']);
    const status = shuffler.pick([200, 200, 200, 204, 304, 404, 500]);
    return (
      `{"time":"${new Date(timeMs).toISOString()}","level":"${level}","service":"gateway","requestId":"${id}",` +
      `"method":"GET","path":"/api/v1/${path}/${shuffler.below(100_000)}","status":${status},` +
      `"durationMs":${shuffler.below(90_000) / 100},"bytes":${shuffler.below(500_000)}}\n`
    );
  });
}

function makeCsv(lengthBytes: number): Uint8Array {
  const shuffler = new Shuffler(0x5eed_0003);
  const levels = Array.from({ length: 6 }, () => shuffler.below(1000) / 10);
  let timeS = 1_767_225_600;
  return textOf(lengthBytes, lineIndex => {
    if (lineIndex === 0) return 'time,station,temperature,pressure,humidity,wind,rain,light\n';
    timeS += 10;
    for (const [column, level] of levels.entries())
      levels[column] = level + (shuffler.below(2001) - 1000) / 5000;
    return `${timeS},s${shuffler.below(40)},${levels.map(level => level.toFixed(4)).join(',')}\n`;
  });
}

const DB_PAGE_BYTES = 4 * KIB;

/**
 * Makes pages like the leaves of a B-tree: a header, cell pointers from the front, rows from the back, zeros
 * between.
 */
function makeDatabase(lengthBytes: number): Uint8Array {
  const shuffler = new Shuffler(0x5eed_0004);
  const words = makeWords(shuffler, 5000);
  const bytes = Buffer.alloc(lengthBytes);
  let rowId = 1;
  for (let start = 0; start + DB_PAGE_BYTES <= lengthBytes; start += DB_PAGE_BYTES) {
    const page = bytes.subarray(start, start + DB_PAGE_BYTES);
    const fillTo = 200 + shuffler.below(1200);
    let end = DB_PAGE_BYTES;
    let rowCount = 0;
    while (end > fillTo) {
      const row = Buffer.alloc(28 + shuffler.below(90));
      row.writeUInt32BE(rowId++, 0);
      row.writeDoubleBE(shuffler.below(1_000_000) / 100, 4);
      row.writeBigUInt64BE(BigInt(1_767_225_600_000 + shuffler.below(1 << 30)), 12);
      let at = 20;
      while (at < row.byteLength)
        at += row.write(`${words[shuffler.skewedBelow(words.length)]} `, at, 'latin1');
      end -= row.byteLength;
      row.copy(page, end);
      page.writeUInt16BE(end, 8 + 2 * rowCount++);
    }
    page.writeUInt8(0x0d, 0);
    page.writeUInt16BE(rowCount, 3);
    page.writeUInt16BE(end, 5);
  }
  return bytes;
}

/** Makes data that looks like compressed or encrypted files. */
function makeIncompressible(lengthBytes: number): Uint8Array {
  const keystream = createCipheriv('aes-256-ctr', Buffer.alloc(32, 1), Buffer.alloc(16));
  return keystream.update(Buffer.alloc(lengthBytes));
}

const ISLAND_BYTES = 64 * KIB;

/** Makes a disk image to which little was written: about every eighth 64 KiB has some pages of data. */
function makeSparse(lengthBytes: number): Uint8Array {
  const shuffler = new Shuffler(0x5eed_0005);
  const data = makeDatabase(lengthBytes);
  const bytes = new Uint8Array(lengthBytes);
  for (let start = 0; start < lengthBytes; start += ISLAND_BYTES) {
    if (shuffler.below(8) !== 0) continue;
    const end = start + (1 + shuffler.below(16)) * DB_PAGE_BYTES;
    bytes.set(data.subarray(start, Math.min(end, lengthBytes)), start);
  }
  return bytes;
}

interface Kind {
  readonly name: string;
  readonly description: string;
  readonly make: (lengthBytes: number) => Uint8Array;
}

/** The kinds of data that are generated. Each is always the same. */
export const GENERATED_KINDS: readonly Kind[] = [
  { name: 'source text', description: 'lines of program text', make: makeSource },
  { name: 'JSON logs', description: 'one request a line', make: makeLogs },
  { name: 'database', description: '4 KiB B-tree pages, partly filled', make: makeDatabase },
  { name: 'CSV floats', description: 'measurements with four decimals', make: makeCsv },
  { name: 'incompressible', description: 'like media or archives', make: makeIncompressible },
  { name: 'sparse', description: 'a disk image, mostly zeros', make: makeSparse },
];

/** Makes the corpus in memory. Where the Node binary cannot be read, it is left out, and a note says so. */
export async function makeCorpus(settings: CorpusSettings, signal?: AbortSignal): Promise<SampleSet> {
  const { chunkBytes } = settings;
  const kindBytes = Math.max(settings.kindBytes ?? KIND_BYTES_DEFAULT, chunkBytes);
  const code = await readCode(kindBytes, chunkBytes, signal);
  const samples: Sample[] = [...code.samples];
  for (const { name, description, make } of GENERATED_KINDS) {
    signal?.throwIfAborted();
    const bytes = make(kindBytes);
    samples.push({
      name,
      description: `${description}, ${formatSize(kindBytes)}`,
      fileCount: 1,
      sizeBytes: kindBytes,
      sampledBytes: kindBytes,
      pieces: [{ offsetBytes: 0, bytes }],
    });
  }
  return { samples, notes: code.notes };
}

/**
 * Returns a sample of the Node binary. Its size counts as the sampled bytes, so it weighs no more than other
 * kinds.
 */
async function readCode(kindBytes: number, chunkBytes: number, signal?: AbortSignal): Promise<SampleSet> {
  try {
    const { samples } = await readSamples([process.execPath], { capBytes: kindBytes, chunkBytes }, signal);
    const renamed = samples.map(sample => ({
      ...sample,
      name: 'executable code',
      description: `the Node ${process.version} binary, ${formatSize(sample.sampledBytes)} of it`,
      sizeBytes: sample.sampledBytes,
    }));
    return { samples: renamed, notes: [] };
  } catch (error) {
    signal?.throwIfAborted();
    if (!isNetsealError(error)) throw error;
    return { samples: [], notes: [`no executable code: ${messageOf(error)}`] };
  }
}
