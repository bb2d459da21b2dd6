/** A writer process is killed at any moment, again and again: what it leaves opens at once and holds what was acknowledged. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import type { Cache } from '../../src/cache/cache.ts';
import { seededChance } from '../../src/server/scheduler.ts';
import { CRASH_SETTINGS, crashUnit, FILES, PLACES, VERSIONS, VOLUME } from './fixtures/crash-plan.ts';
import { collect, newFolder, openTestCache, tagOf } from './support.ts';

const WRITER = fileURLToPath(new URL('fixtures/crash-writer.ts', import.meta.url));
const ROUNDS = Number(process.env.NETSEAL_CRASH_ROUNDS ?? (process.env.CI === undefined ? 20 : 300));

/** Acknowledged dirty batches that were not released before the last word from the writer. */
type Acknowledged = Map<number, { file: number; place: number; version: number; mayBeReleased: boolean }>;

async function writeAndKill(
  folder: string,
  seed: number,
  afterMs: number,
  known: Acknowledged,
): Promise<number> {
  const child = spawn(process.execPath, [WRITER, folder, String(seed)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const closed = once(child, 'close');
  let count = 0;
  const lines = createInterface(child.stdout);
  lines.on('line', line => {
    const [word, ...numbers] = line.split(' ');
    const [id = 0, file = 0, place = 0, version = 0] = numbers.map(Number);
    if (word === 'ready') setTimeout(() => child.kill('SIGKILL'), afterMs);
    if (word === 'dirty') known.set(id, { file, place, version, mayBeReleased: false });
    const batch = known.get(id);
    if (word === 'releasing' && batch !== undefined) batch.mayBeReleased = true;
    if (word === 'released') known.delete(id);
    count += 1;
  });
  const [code, signal] = await closed;
  if (signal !== 'SIGKILL') throw new Error(`the writer ended by itself with ${code}`);
  return count;
}

/** Every unit that is served is one that was written for its place; returns how many are. */
async function checkServed(cache: Cache): Promise<number> {
  let served = 0;
  for (const [file, objectId] of FILES.entries()) {
    const requests = Array.from({ length: PLACES * VERSIONS }, (_, at) => {
      const bytes = crashUnit(file, Math.floor(at / VERSIONS), at % VERSIONS);
      const index = Math.floor(at / VERSIONS);
      return { objectId, index, expectedTag: tagOf(bytes), into: new Uint8Array(bytes.byteLength), bytes };
    });
    const lengths = await cache.volume(VOLUME).get(requests);
    for (const [at, lengthBytes] of lengths.entries()) {
      if (lengthBytes === 0) continue;
      served += 1;
      const { into, bytes } = requests[at]!;
      if (Buffer.compare(into, bytes) !== 0) throw new Error(`unit ${at} of file ${file} is wrong`);
    }
  }
  return served;
}

/** Rounds on one folder; returns how many acknowledgements and served units there were. */
async function killAgain(rounds: number, seed: number): Promise<{ acknowledged: number; served: number }> {
  const folder = newFolder();
  const chance = seededChance(seed);
  const known: Acknowledged = new Map();
  const sum = { acknowledged: 0, served: 0 };
  for (let round = 0; round < rounds; round += 1) {
    sum.acknowledged += await writeAndKill(folder, seed + round, Math.floor(chance() * 120), known);
    const cache = await openTestCache(folder, CRASH_SETTINGS);
    sum.served += await checkServed(cache);
    await checkDirty(cache, known, `seed ${seed}, round ${round}`);
    expect(cache.statistics.problems).toEqual({
      full: 0,
      io: 0,
      gone: 0,
      denied: 0,
      damaged: 0,
      database: 0,
    });
    await cache.close();
  }
  return sum;
}

async function checkDirty(cache: Cache, known: Acknowledged, where: string): Promise<void> {
  const listed = new Map((await collect(cache.listDirty())).map(batch => [batch.id, batch]));
  for (const [id, { file, place, version, mayBeReleased }] of known) {
    const batch = listed.get(id);
    if (batch === undefined && mayBeReleased) {
      known.delete(id);
      continue;
    }
    const [unit] = batch?.units ?? [];
    expect(unit, `${where}, batch ${id}`).toMatchObject({ index: place });
    expect(Buffer.compare(unit!.tag, tagOf(crashUnit(file, place, version)))).toBe(0);
    expect(cache.volume(VOLUME).has({ objectId: FILES[file]!, index: place })).toBe(true);
  }
}

it(
  `${ROUNDS} kills: nothing wrong is served, nothing acknowledged is missing`,
  async () => {
    const seed = Number(process.env.NETSEAL_SEED ?? Date.now() % 1e9);
    const half = Math.ceil(ROUNDS / 2);
    const sums = await Promise.all([killAgain(half, seed), killAgain(half, seed + 1e6)]);
    for (const { acknowledged, served } of sums) {
      expect(acknowledged).toBeGreaterThan(half);
      expect(served).toBeGreaterThan(half);
    }
  },
  ROUNDS * 5_000,
);
