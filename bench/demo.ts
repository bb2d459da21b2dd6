/**
 * `npm run demo [-- FOLDER]`: seals a real tree through the pipeline, opens it, compares every byte, looks for plaintext
 * in what was stored, damages some of it, and has the bench recommend a setting. Ends with an error if anything is not
 * as it should be.
 */
import { mkdtemp, open, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { styleText } from 'node:util';
import { runBench } from '../src/bench/bench.ts';
import { formatSize, formatThroughput } from '../src/bench/format.ts';
import { LINK_DEFAULT } from '../src/bench/link.ts';
import { reportToText } from '../src/bench/report-text.ts';
import { GRID_DEFAULT } from '../src/bench/settings.ts';
import { Keyring } from '../src/keys/keyring.ts';
import { openPipeline } from '../src/pipeline/pipeline.ts';
import { type SealedEntry, SealedTree, UNIT_BYTES } from './sealed-tree.ts';
import { listFiles } from './tree.ts';

/** Long enough that random bytes will not hold it by chance. */
const SNIPPET_BYTES = 24;
const SNIPPET_COUNT = 2000;

const root = process.argv[2] ?? fileURLToPath(new URL('..', import.meta.url));
const folder = await mkdtemp(join(tmpdir(), 'netseal-demo-'));
const pipeline = await openPipeline();
try {
  const tree = await sealTree();
  try {
    await openAndCompare(tree);
    await lookForPlaintext(tree);
    await damage(tree);
  } finally {
    await tree.close();
  }
} finally {
  await pipeline.close();
  await rm(folder, { recursive: true });
}
await recommend();

function heading(text: string): void {
  console.log(`\n${styleText('bold', text, { stream: process.stdout })}`);
}

function check(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(`demo: ${what}`);
}

async function timed<Result>(work: () => Promise<Result>): Promise<{ result: Result; seconds: number }> {
  const startedMs = performance.now();
  const result = await work();
  return { result, seconds: (performance.now() - startedMs) / 1000 };
}

async function sealTree(): Promise<SealedTree> {
  heading(`Sealing ${root}`);
  const files = await listFiles(root);
  check(files.length > 0, `${root} holds no files`);
  const keys = pipeline.addKeyring(Keyring.create());
  const { result: tree, seconds } = await timed(() =>
    SealedTree.seal(files, join(folder, 'sealed'), pipeline, keys),
  );
  const { plainBytes, sealedBytes, entries } = tree;
  console.log(
    `  ${files.length} files, ${formatSize(plainBytes)} in ${entries.length} units of up to ${formatSize(UNIT_BYTES)}`,
  );
  console.log(
    `  sealed to ${formatSize(sealedBytes)} in ${seconds.toFixed(1)} s, ${formatThroughput(plainBytes / seconds)}, ` +
      `reading and writing files included; ${pipeline.workerCount} workers`,
  );
  return tree;
}

async function openAndCompare(tree: SealedTree): Promise<void> {
  heading('Opening all of it and comparing every byte');
  let compared = 0;
  const { seconds } = await timed(() =>
    tree.openAll(async (entry, plain) => {
      const original = await readOriginal(tree, entry);
      check(Buffer.compare(original, plain) === 0, `${tree.files[entry.file]} unit ${entry.index} differs`);
      compared += plain.byteLength;
    }),
  );
  check(compared === tree.plainBytes, `compared ${compared} of ${tree.plainBytes} bytes`);
  console.log(`  ${formatSize(compared)} compared and equal, ${formatThroughput(compared / seconds)}`);
}

async function readOriginal(tree: SealedTree, entry: SealedEntry): Promise<Buffer> {
  const handle = await open(tree.files[entry.file]!);
  try {
    const bytes = Buffer.alloc(entry.plainBytes);
    await handle.read(bytes, 0, bytes.byteLength, entry.index * UNIT_BYTES);
    return bytes;
  } finally {
    await handle.close();
  }
}

/** Searches what was stored for pieces of files and for file names; and, to show that this finds things, the originals. */
async function lookForPlaintext(tree: SealedTree): Promise<void> {
  heading('Looking for plaintext in the sealed bytes');
  const step = Math.max(1, Math.floor(tree.entries.length / SNIPPET_COUNT));
  const chosen = tree.entries.filter((entry, at) => at % step === 0 && entry.plainBytes >= SNIPPET_BYTES);
  const snippets: Buffer[] = [];
  for (const entry of chosen) {
    const original = await readOriginal(tree, entry);
    const at = (original.byteLength - SNIPPET_BYTES) >> 1;
    const snippet = original.subarray(at, at + SNIPPET_BYTES);
    // A piece that repeats one byte says nothing.
    if (new Set(snippet).size >= 8) snippets.push(Buffer.from(snippet));
  }
  const names = [...new Set(tree.files.map(path => basename(path)))].filter(name => name.length >= 12);
  const inOriginals = await findAny(
    snippets,
    chosen.map(entry => () => readOriginal(tree, entry)),
  );
  check(
    inOriginals === snippets.length,
    `the search finds only ${inOriginals} of ${snippets.length} in the originals`,
  );
  const inSealed = await findAny([...snippets, ...names.map(name => Buffer.from(name))], sealedChunks(tree));
  check(inSealed === 0, `${inSealed} pieces of plaintext are in the sealed bytes`);
  console.log(
    `  ${snippets.length} pieces of files and ${names.length} names looked for: in the originals all pieces are found, ` +
      'in the sealed bytes none',
  );
}

/** How many of the needles occur in the chunks. All needles at once, by a table of their first four bytes. */
async function findAny(
  needles: readonly Buffer[],
  chunks: readonly (() => Promise<Buffer>)[],
): Promise<number> {
  const byStart = new Map<number, Buffer[]>();
  for (const needle of needles) {
    const start = needle.readUInt32LE(0);
    byStart.set(start, [...(byStart.get(start) ?? []), needle]);
  }
  const found = new Set<Buffer>();
  for (const read of chunks) {
    const chunk = await read();
    for (let at = 0; at + 4 <= chunk.byteLength; at += 1) {
      for (const needle of byStart.get(chunk.readUInt32LE(at)) ?? []) {
        if (chunk.subarray(at, at + needle.byteLength).equals(needle)) found.add(needle);
      }
    }
  }
  return found.size;
}

/** The sealed file in overlapping chunks, so that nothing hides on a border. */
function sealedChunks(tree: SealedTree): (() => Promise<Buffer>)[] {
  const chunkBytes = 4 * 1024 * 1024;
  const count = Math.ceil(tree.sealedBytes / chunkBytes);
  return Array.from({ length: count }, (_, at) => async () => {
    const handle = await open(tree.path);
    try {
      const chunk = Buffer.alloc(Math.min(chunkBytes + 256, tree.sealedBytes - at * chunkBytes));
      await handle.read(chunk, 0, chunk.byteLength, at * chunkBytes);
      return chunk;
    } finally {
      await handle.close();
    }
  });
}

async function damage(tree: SealedTree): Promise<void> {
  heading('Damaging it');
  const large = tree.entries.filter(entry => entry.plainBytes > 1000);
  check(large.length >= 2, 'too little data to damage');
  const [victim, other] = [large[0]!, large.find(entry => entry.file !== large[0]!.file) ?? large[1]!];
  const stranger = pipeline.addKeyring(Keyring.create());
  const cases = [
    { what: 'one bit flipped', damage: (record: Uint8Array) => flip(record, record.byteLength >> 1) },
    { what: 'the tag changed', damage: (record: Uint8Array) => flip(record, record.byteLength - 1) },
    { what: 'the length changed', damage: (record: Uint8Array) => flip(record, 12) },
    { what: 'the magic overwritten', damage: (record: Uint8Array) => record.fill(0, 0, 4) },
    { what: 'a version of the future', damage: (record: Uint8Array) => record.fill(9, 4, 5) },
    { what: 'put in the place of another file', as: other },
    { what: 'put in another place of its file', as: { ...victim, index: victim.index + 1 } },
    { what: 'opened with the keys of another volume', keys: stranger },
  ];
  for (const { what, ...options } of cases) {
    await tree.openUnits(
      [victim],
      (_entry, opened) => {
        check(opened.error !== undefined, `${what}: opened all the same`);
        console.log(`  ${what.padEnd(40)} ${opened.error.code}: ${opened.error.message}`);
      },
      options,
    );
  }
  const neighbours = tree.entries.slice(0, 64);
  let opened = 0;
  let failed = 0;
  let isFirst = true;
  await tree.openUnits(
    neighbours,
    (_entry, unit) => {
      if (unit.error === undefined) opened += 1;
      else failed += 1;
    },
    {
      damage: record => {
        if (isFirst) flip(record, record.byteLength - 20);
        isFirst = false;
      },
    },
  );
  check(failed === 1, `${failed} units failed where one was damaged`);
  console.log(`  one of ${neighbours.length} units in a request damaged: ${opened} open, ${failed} fails`);
}

function flip(record: Uint8Array, at: number): void {
  record[at]! ^= 1;
}

async function recommend(): Promise<void> {
  heading('What the bench recommends for this tree');
  const report = await runBench({
    paths: [root],
    grid: { ...GRID_DEFAULT, codecs: GRID_DEFAULT.codecs.filter(({ codec }) => codec !== 'deflate') },
    workers: availableParallelism(),
    link: LINK_DEFAULT,
    workload: 'mixed',
    sampleBytes: 4 * 1024 * 1024,
    timeMs: 20,
  });
  console.log(reportToText(report, { color: process.stdout.isTTY === true, details: false }));
}
