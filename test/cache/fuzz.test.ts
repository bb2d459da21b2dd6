/**
 * Any file of a cache, closed or left by a killed process, is damaged in any way. Then the cache
 *
 * - opens, or says why it does not;
 * - serves nothing that was not written for its place;
 * - keeps dirty batches that were not touched;
 * - takes no more time or memory than usual.
 */
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname } from 'node:path';
import { describe, expect, it } from 'vitest';
import { seededChance } from '../../src/base/chance.ts';
import { isNetsealError } from '../../src/base/errors.ts';
import type { Cache } from '../../src/cache/cache.ts';
import { SEED, soakSize } from '../support/soak.ts';
import { collect, getUnit, idOf, KIB, MIB, newFolder, openTestCache, tagOf, unitOf } from './support.ts';

const VOLUME = idOf(1);
const FILE = idOf(100);
const SETTINGS = { budgetBytes: MIB, zoneBytes: 16 * KIB };
const UNITS = 60;
const SOAK_MS = soakSize(1_500, 60_000);
const OPEN_MS_MAX = 60_000;

type Chance = () => number;

/** Serial numbers of dirty batches by the file that they lie in, relative to the folder. */
type Batches = ReadonlyMap<string, readonly number[]>;

/** Makes a cache with some of everything in it: once as a kill leaves it, once closed. */
async function makePristine(): Promise<{ folders: readonly string[]; batches: Batches }> {
  const folder = newFolder();
  const cache = await openTestCache(folder, SETTINGS);
  const volume = cache.volume(VOLUME);
  volume.pin(idOf(5));
  for (let index = 0; index < UNITS; index += 1) {
    await volume.put([{ objectId: FILE, index, bytes: unitOf(index) }]);
    if (index < 10) await volume.put([{ objectId: idOf(5), index, bytes: unitOf(1000 + index) }]);
    if (index === 30) await cache.flush();
  }
  volume.setCoherency(FILE, Buffer.from('state'));
  volume.invalidate(idOf(6));
  const serials: number[] = [];
  for (let serial = 0; serial < 12; serial += 1) {
    const units = [{ volumeId: VOLUME, objectId: idOf(7), index: serial, bytes: unitOf(2000 + serial) }];
    const id = await cache.appendDirty({ units, payload: Buffer.from(`${serial}`) });
    if (serial % 5 === 0) await cache.releaseDirty([id]);
    else serials.push(serial);
  }
  const killed = newFolder();
  cpSync(folder, killed, { recursive: true });
  await cache.close();
  const batches = readdirSync(`${folder}/dirty`).map((name): [string, number[]] => {
    const content = readFileSync(`${folder}/dirty/${name}`);
    return [`dirty/${name}`, serials.filter(serial => content.includes(Buffer.from(unitOf(2000 + serial))))];
  });
  expect(batches.flatMap(([, inFile]) => inFile).sort()).toEqual(serials.sort());
  return { folders: [folder, killed], batches: new Map(batches) };
}

function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(name =>
    statSync(`${folder}/${name}`).isFile(),
  );
}

interface Harm {
  readonly what: string;
  /** How many batches of the file may be gone: one, or all of them. */
  readonly batchesLost: number;
  readonly touched: readonly string[];
}

/** Kinds of damage. Each changes a file, and says how. */
const HARMS: readonly ((folder: string, path: string, chance: Chance) => Harm)[] = [
  (folder, path, chance) => {
    const content = readFileSync(`${folder}/${path}`);
    const at = Math.floor(chance() * content.byteLength);
    content[at] = (content[at] ?? 0) ^ (1 << Math.floor(chance() * 8));
    writeFileSync(`${folder}/${path}`, content);
    return { what: `a bit at ${at} of ${path}`, batchesLost: 1, touched: [path] };
  },
  (folder, path, chance) => {
    const lengthBytes = Math.floor(chance() * statSync(`${folder}/${path}`).size);
    truncateSync(`${folder}/${path}`, lengthBytes);
    return { what: `${path} cut to ${lengthBytes}`, batchesLost: 99, touched: [path] };
  },
  (folder, path, chance) => {
    const content = readFileSync(`${folder}/${path}`);
    const from = Math.floor(chance() * content.byteLength);
    const to = from + Math.ceil(chance() * 4096);
    content.subarray(from, to).fill(chance() < 0.5 ? 0 : 0xff);
    writeFileSync(`${folder}/${path}`, content);
    return { what: `${from} to ${to} of ${path} overwritten`, batchesLost: 99, touched: [path] };
  },
  (folder, path, chance) => {
    const content = readFileSync(`${folder}/${path}`);
    // Lengths and counts are 32-bit numbers somewhere; this is the largest.
    const at = Math.max(
      0,
      4 * Math.floor((content.byteLength / 4) * (chance() < 0.5 ? chance() * 0.01 : chance())),
    );
    content.subarray(at, at + 4).fill(0xff);
    writeFileSync(`${folder}/${path}`, content);
    return { what: `2^32 - 1 at ${at} of ${path}`, batchesLost: 99, touched: [path] };
  },
  (folder, path) => {
    const content = readFileSync(`${folder}/${path}`);
    // The trailer of a zone says where its footer is, and how long.
    content.subarray(-16, -8).fill(0xff);
    writeFileSync(`${folder}/${path}`, content);
    return { what: `the last words of ${path}`, batchesLost: 99, touched: [path] };
  },
  (folder, path, chance) => {
    const lengthBytes = statSync(`${folder}/${path}`).size + Math.ceil(2 ** (40 * chance()));
    truncateSync(`${folder}/${path}`, lengthBytes);
    return { what: `${path} as long as ${lengthBytes}`, batchesLost: 0, touched: [path] };
  },
  (folder, path) => {
    writeFileSync(`${folder}/${path}`, '');
    return { what: `${path} empty`, batchesLost: 99, touched: [path] };
  },
  (folder, path) => {
    rmSync(`${folder}/${path}`);
    return { what: `${path} gone`, batchesLost: 99, touched: [path] };
  },
  (folder, path, chance) => {
    const others = readdirSync(`${folder}/${dirname(path)}`).filter(
      name => name !== basename(path) && statSync(`${folder}/${dirname(path)}/${name}`).isFile(),
    );
    const other = `${dirname(path)}/${others[Math.floor(chance() * others.length)]}`.replace('./', '');
    if (others.length === 0) return { what: 'nothing', batchesLost: 0, touched: [] };
    const contents = [path, other].map(each => readFileSync(`${folder}/${each}`));
    writeFileSync(`${folder}/${other}`, contents[0] ?? '');
    writeFileSync(`${folder}/${path}`, contents[1] ?? '');
    return { what: `${path} and ${other} exchanged`, batchesLost: 99, touched: [path, other] };
  },
  (folder, path, chance) => {
    const name = Array.from({ length: 32 }, () => Math.floor(chance() * 16).toString(16)).join('');
    const copy = `${path.startsWith('dirty') ? 'dirty' : 'zones'}/${name}`;
    cpSync(`${folder}/${path}`, `${folder}/${copy}`);
    return { what: `${path} copied to ${copy}`, batchesLost: 0, touched: [] };
  },
  (folder, path, chance) => {
    const names = ['x', 'f'.repeat(31), 'F'.repeat(32), '..a', 'ä', 'probe', 'e'.repeat(32)];
    const name = `${chance() < 0.5 ? 'dirty' : 'zones'}/${names[Math.floor(chance() * names.length)]}`;
    const kind = chance();
    if (kind < 0.3) cpSync(`${folder}/${path}`, `${folder}/${name}`);
    else if (kind < 0.6) mkdirSync(`${folder}/${name}`);
    else execFileSync('mkfifo', [`${folder}/${name}`]);
    return { what: `a stray ${name}, ${kind}`, batchesLost: 0, touched: [] };
  },
];

describe('damage of any file', () => {
  it('is survived: it opens, or says why not, serves nothing wrong and keeps what is dirty', async () => {
    const chance = seededChance(SEED);
    const { folders, batches } = await makePristine();
    const refused = new Set<string>();
    const endMs = performance.now() + SOAK_MS;
    let round = 0;
    for (; performance.now() < endMs || round < 5; round += 1) {
      const pristine = folders[round % 2] ?? '';
      const folder = newFolder();
      cpSync(pristine, folder, { recursive: true });
      const path = somePath(filesIn(pristine), chance);
      const harm = HARMS[Math.floor(chance() * HARMS.length)]?.(folder, path, chance);
      if (harm === undefined) throw new Error('no such harm');
      await judge(folder, harm, batches, refused).catch((error: unknown) => {
        throw new Error(`seed ${SEED}, round ${round}: ${harm.what}: ${error}`, { cause: error });
      });
      rmSync(folder, { recursive: true, force: true });
    }
    // A cache opens unless its header is damaged.
    expect([...refused]).toEqual([]);
  });
});

/** Draws a file: each kind is as likely as any other, however many files there are of it. */
function somePath(paths: readonly string[], chance: Chance): string {
  const kinds = [...new Set(paths.map(kindOf))];
  const kind = kinds[Math.floor(chance() * kinds.length)];
  const some = paths.filter(path => kindOf(path) === kind);
  return some[Math.floor(chance() * some.length)] ?? '';
}

function kindOf(path: string): string {
  return path.includes('/') ? dirname(path) : path;
}

async function judge(folder: string, harm: Harm, batches: Batches, refused: Set<string>): Promise<void> {
  const hadHeader = existsSync(`${folder}/header`);
  for (const isAgain of [false, true]) {
    const startMs = performance.now();
    const before = process.memoryUsage().rss;
    let cache: Cache;
    try {
      cache = await openTestCache(folder, SETTINGS);
    } catch (error) {
      if (!isNetsealError(error)) throw error;
      if (!harm.touched.includes('header')) refused.add(`${harm.what}: ${error}`);
      return;
    }
    expect(performance.now() - startMs).toBeLessThan(OPEN_MS_MAX);
    expect(process.memoryUsage().rss - before).toBeLessThan(256 * MIB);
    await checkServed(cache);
    if (hadHeader) await checkDirty(cache, harm, batches);
    if (!isAgain) await collect(cache.verify({ repair: true }));
    expect(await cache.volume(VOLUME).put([{ objectId: idOf(9), index: 0, bytes: unitOf(5) }])).toBe(
      isAgain ? 0 : 1,
    );
    expect(await getUnit(cache, VOLUME, idOf(9), 0, unitOf(5))).toBe('hit');
    await cache.close();
  }
}

async function checkServed(cache: Cache): Promise<void> {
  for (let index = 0; index < UNITS; index += 1) {
    const bytes = unitOf(index);
    const into = new Uint8Array(bytes.byteLength);
    const request = { objectId: FILE, index, expectedTag: tagOf(bytes), into };
    const [lengthBytes] = await cache.volume(VOLUME).get([request]);
    // Damage in the middle is for the opener to find.
    if (lengthBytes !== 0) expect(Buffer.compare(into.subarray(-16), bytes.subarray(-16))).toBe(0);
  }
}

async function checkDirty(cache: Cache, harm: Harm, batches: Batches): Promise<void> {
  const listed = await collect(cache.listDirty());
  const serials = listed.map(({ payload, units }) => {
    const serial = Number(Buffer.from(payload).toString());
    expect(Buffer.from(units[0]?.tag ?? [])).toEqual(Buffer.from(tagOf(unitOf(2000 + serial))));
    return serial;
  });
  expect(new Set(serials).size, 'batches listed twice').toBe(serials.length);
  for (const [path, inFile] of batches) {
    const lost = inFile.filter(serial => !serials.includes(serial));
    const most = harm.touched.includes(path) ? harm.batchesLost : 0;
    expect(lost.length, `lost of ${path}: ${lost}`).toBeLessThanOrEqual(most);
  }
}
