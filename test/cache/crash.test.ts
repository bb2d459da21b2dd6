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

it(
  `${ROUNDS} kills: nothing wrong is served, nothing acknowledged is missing`,
  async () => {
    const folder = newFolder();
    const seed = Number(process.env.NETSEAL_SEED ?? Date.now() % 1e9);
    const chance = seededChance(seed);
    const known: Acknowledged = new Map();
    let served = 0;
    let acknowledged = 0;
    for (let round = 0; round < ROUNDS; round += 1) {
      acknowledged += await writeAndKill(folder, seed + round, Math.floor(chance() * 120), known);
      const cache = await openTestCache(folder, CRASH_SETTINGS);
      served += await checkServed(cache);
      const listed = new Map((await collect(cache.listDirty())).map(batch => [batch.id, batch]));
      for (const [id, { file, place, version, mayBeReleased }] of known) {
        const batch = listed.get(id);
        if (batch === undefined && mayBeReleased) {
          known.delete(id);
          continue;
        }
        const tag = tagOf(crashUnit(file, place, version));
        const [unit] = batch?.units ?? [];
        expect(unit, `seed ${seed}, round ${round}, batch ${id}`).toMatchObject({ index: place });
        expect(Buffer.compare(unit!.tag, tag)).toBe(0);
        expect(await cache.volume(VOLUME).has({ objectId: FILES[file]!, index: place })).toBe(true);
      }
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
    expect(acknowledged).toBeGreaterThan(ROUNDS);
    expect(served).toBeGreaterThan(ROUNDS);
  },
  ROUNDS * 5_000,
);
