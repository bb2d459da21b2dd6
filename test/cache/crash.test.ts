/**
 * A writer process is killed again and again: from outside at any moment, or by itself within a chosen system
 * call. The folder that it leaves opens at once and holds everything that was acknowledged.
 *
 * In half of the rounds the folder is checked in a copy, so that the next writer finds it as its predecessor
 * left it.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, cpSync, existsSync, openSync, readFileSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { seededChance } from '../../src/base/chance.ts';
import type { Cache } from '../../src/cache/cache.ts';
import { IS_LONG, SEED, soakSize } from '../support/soak.ts';
import { CrashModel } from './crash-model.ts';
import { CRASH_SETTINGS, type CrashLine, type CrashPlan, crashKey, MOODS } from './fixtures/crash-plan.ts';
import type { KillPoint } from './fixtures/killing-files.ts';
import { newFolder, openTestCache } from './support.ts';

const WRITER = fileURLToPath(new URL('fixtures/crash-writer.ts', import.meta.url));
/** How many rounds there are on one folder. */
const LIFE = 10;
const ROUNDS = soakSize(2 * LIFE, 32 * LIFE);
const AFTER_MS_MAX = 150;

type Chance = () => number;

/**
 * Draws after how many calls to kill. Small numbers are as likely as large ones, as opening takes few calls.
 */
function killPoint(chance: Chance): KillPoint {
  const call = Math.ceil(600 ** chance());
  const when = (['before', 'half', 'after'] as const)[Math.floor(chance() * 3)] ?? 'half';
  return { call, when };
}

/** Runs a writer until it dies. Returns what it said. */
async function writeAndKill(plan: CrashPlan, chance: Chance): Promise<CrashLine[]> {
  const words = `${plan.folder}.words`;
  const descriptor = openSync(words, 'w');
  const child = spawn(process.execPath, [WRITER, JSON.stringify(plan)], {
    stdio: ['ignore', 'pipe', 'inherit', descriptor],
  });
  closeSync(descriptor);
  const closed = once(child, 'close');
  if (plan.kill === undefined) {
    const afterMs = chance() * AFTER_MS_MAX;
    child.stdout?.once('data', () => setTimeout(() => child.kill('SIGKILL'), afterMs));
  }
  child.stdout?.resume();
  const [code, signal] = await closed;
  if (signal !== 'SIGKILL') throw new Error(`the writer ended by itself with ${code}`);
  const text = readFileSync(words, 'utf8');
  // The last line may be incomplete.
  return text
    .split('\n')
    .slice(0, -1)
    .map(line => JSON.parse(line) as CrashLine);
}

interface Sums {
  acknowledged: number;
  served: number;
}

/** The rounds on one folder. */
async function live(seed: number, sums: Sums): Promise<void> {
  const chance = seededChance(seed);
  const folder = newFolder();
  const model = new CrashModel();
  for (let round = 0; round < LIFE; round += 1) {
    const mood = MOODS[Math.floor(chance() * MOODS.length)] ?? 'mixed';
    const kill = chance() < 0.7 ? { kill: killPoint(chance) } : {};
    const plan: CrashPlan = { folder, seed: seed * LIFE + round, key: model.keys[0]!, mood, ...kill };
    for (const line of await writeAndKill(plan, chance)) model.tell(line);
    sums.served += await judge(folder, model, chance() < 0.5).catch((error: unknown) => {
      throw new Error(`seed ${seed}, round ${round}, ${JSON.stringify(plan)}: ${error}`, { cause: error });
    });
  }
  sums.acknowledged += model.acknowledged;
}

/** Checks what a killed writer left. Returns how many units are served. */
async function judge(folder: string, model: CrashModel, isCopy: boolean): Promise<number> {
  if (model.isWiping && !existsSync(`${folder}/header`)) model.forget();
  model.isWiping = false;
  const place = isCopy ? `${folder}.copy` : folder;
  if (isCopy) cpSync(folder, place, { recursive: true });
  try {
    const { noKey } = model;
    if (noKey !== undefined) await expect(open(place, noKey)).rejects.toMatchObject({ code: 'EKEY' });
    const startMs = performance.now();
    const cache = await openWithAny(place, model);
    expect(performance.now() - startMs).toBeLessThan(30_000);
    const served = await model.check(cache, place);
    await cache.close();
    return served;
  } finally {
    if (isCopy) rmSync(place, { recursive: true, force: true });
  }
}

function open(folder: string, key: number): Promise<Cache> {
  const slots = [{ label: 'test', secret: { type: 'raw-key', key: crashKey(key) } as const }];
  return openTestCache(folder, CRASH_SETTINGS, { key: { slots } });
}

/** Opens the cache with the old key or the new one. */
async function openWithAny(folder: string, model: CrashModel): Promise<Cache> {
  for (const [at, key] of model.keys.entries()) {
    try {
      const cache = await open(folder, key);
      model.keys = [key];
      return cache;
    } catch (error) {
      if (at === model.keys.length - 1) throw error;
      expect(error).toMatchObject({ code: 'EKEY' });
    }
  }
  throw new Error('there is no key');
}

it.runIf(IS_LONG)(
  `${ROUNDS} kills: nothing wrong is served, nothing acknowledged is missing`,
  {
    timeout: soakSize(300_000, 900_000),
  },
  async () => {
    const sums: Sums = { acknowledged: 0, served: 0 };
    const seeds = Array.from({ length: Math.ceil(ROUNDS / LIFE) }, (_, at) => SEED + at).values();
    // Two at once, for two processors.
    const liveAll = async (): Promise<void> => {
      for (const next of seeds) await live(next, sums);
    };
    await Promise.all([liveAll(), liveAll()]);
    // Most rounds get somewhere. How far depends on the machine and the seed.
    expect(sums.acknowledged, `seed ${SEED}`).toBeGreaterThan(soakSize(ROUNDS / 10, ROUNDS));
    expect(sums.served, `seed ${SEED}`).toBeGreaterThan(soakSize(ROUNDS / 10, ROUNDS));
  },
);
