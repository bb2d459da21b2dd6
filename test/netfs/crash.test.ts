/**
 * A process that writes files is killed again and again: from outside at any moment, or by itself at a chosen
 * request to the store. Each file is then what it was after some of its changes, none of them left out, and has
 * everything that was synced. Whoever reads through the cache that the writer had, or a new one, finds the same.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import type { CallOptions } from '../../src/base/call-options.ts';
import { type Chance, seededChance } from '../../src/base/chance.ts';
import { openCache } from '../../src/cache/open.ts';
import { createVolumeHeader } from '../../src/keys/unlock.ts';
import { DirectoryStore } from '../../src/server/directory-store.ts';
import { ForwardingStore } from '../../src/server/forward.ts';
import type { ObjectStore } from '../../src/server/store.ts';
import { collectGarbage } from '../../src/volume/care/gc.ts';
import { createRoot } from '../../src/volume/root.ts';
import { checkVolumeSettings, encodeSettings } from '../../src/volume/session/volume-settings.ts';
import { IS_LONG, SEED, soakSize } from '../support/soak.ts';
import { deepCheck, GRACE_MS, HOUR_MS } from '../volume/gc-support.ts';
import { FOLDER, readFile, TestVolume, writeFile } from '../volume/support.ts';
import {
  CACHE_SETTINGS,
  CrashedFile,
  type CrashLine,
  type CrashPlan,
  type KillPoint,
} from './crash-steps.ts';
import { whyNotEqual } from './file-model.ts';

const WRITER = fileURLToPath(new URL('fixtures/crash-writer.ts', import.meta.url));
const KEY_BYTE = 7;
const SECRET = { type: 'raw-key', key: new Uint8Array(32).fill(KEY_BYTE) } as const;
const UNIT_BYTES = 4096;
/** Rounds on one volume. */
const LIFE = soakSize(2, 6);
const FILES = ['/one', '/two', '/three'];
const AFTER_MS_MAX = 200;

interface Sums {
  /** Rounds in which something was written that was not synced. */
  unsynced: number;
  /** Files that the crash left newer than their last sync. */
  newer: number;
}

/** Runs a writer until it dies. Returns what it said. */
async function writeAndDie(plan: CrashPlan, chance: Chance): Promise<CrashLine[]> {
  const words = `${plan.storeFolder}.words`;
  const descriptor = openSync(words, 'w');
  const child = spawn(process.execPath, [WRITER, JSON.stringify(plan)], {
    stdio: ['ignore', 'pipe', 'inherit', descriptor],
    env: { ...process.env, NODE_COMPILE_CACHE: `${tmpdir()}/netseal-compile-cache` },
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
  // The last line may be incomplete.
  const lines = readFileSync(words, 'utf8').split('\n').slice(0, -1);
  return lines.map(line => JSON.parse(line) as CrashLine);
}

/** Small numbers are as likely as large ones. */
function killPoint(chance: Chance): KillPoint {
  return { request: Math.ceil(300 ** chance()), when: chance() < 0.5 ? 'before' : 'after' };
}

/** A volume with a few files, and a writer that dies on it again and again. */
async function live(seed: number, sums: Sums): Promise<void> {
  const chance = seededChance(seed);
  const folder = mkdtempSync(join(tmpdir(), 'netseal-crash-'));
  const storeFolder = join(folder, 'store');
  const store = await DirectoryStore.open(storeFolder, { durability: 'none', create: true });
  const header = await createVolumeHeader({
    slots: [{ label: 'test', secret: SECRET }],
    settings: encodeSettings(checkVolumeSettings({ unitSizeBytes: UNIT_BYTES })),
  });
  const headerPath = join(folder, 'header');
  const cacheFolder = join(folder, 'cache');
  writeFileSync(headerPath, header.bytes);
  await createRoot(store, header, FOLDER);
  const test = new TestVolume(store, header);
  try {
    const { volume } = await test.client();
    for (const path of FILES) await writeFile(volume, path, new Uint8Array(0));
    await volume.close();
    let contents: Uint8Array[] = FILES.map(() => new Uint8Array());
    let firstWrite = 0;
    for (let round = 0; round < LIFE; round += 1) {
      const kill = chance() < 0.8 ? killPoint(chance) : undefined;
      const plan = {
        storeFolder,
        headerPath,
        cacheFolder,
        keyByte: KEY_BYTE,
        files: FILES,
        firstWrite,
        kill,
      };
      const lines = await writeAndDie({ ...plan, seed: seed * LIFE + round }, chance);
      const files = contents.map(content => new CrashedFile(content));
      for (const line of lines) files[line.file]?.tell(line);
      const where = `seed ${seed}, round ${round}, ${JSON.stringify(kill)}`;
      contents = await judge(test, files, where);
      // The cache that the writer had, and a new one which is read twice.
      const others = IS_LONG ? [join(folder, `cache ${round}`), join(folder, `cache ${round}`)] : [];
      for (const path of [cacheFolder, ...others]) {
        await compareThrough(test, path, contents, where);
      }
      firstWrite = Math.max(firstWrite, ...files.map(file => file.lastWrite));
      if (files.some(file => file.hadUnsynced)) sums.unsynced += 1;
      sums.newer += files.filter((file, at) => file.isNewerThanSync(contents[at] ?? new Uint8Array())).length;
    }
    await sweep(test);
  } finally {
    await test.close();
    await store.close();
    rmSync(folder, { recursive: true });
  }
}

/** Checks what a killed writer left. Returns what the files hold now. */
async function judge(test: TestVolume, files: readonly CrashedFile[], where: string): Promise<Uint8Array[]> {
  const { volume } = await test.client();
  const contents: Uint8Array[] = [];
  for (const [at, path] of FILES.entries()) {
    const content = await readFile(volume, path);
    expect(files[at]?.whyNot(content), `${where}: ${path}`).toBeUndefined();
    contents.push(content);
  }
  const { damages } = await deepCheck(volume);
  expect(damages, where).toEqual([]);
  await volume.close();
  return contents;
}

/** Fails unless files are the same when they are read through a cache. */
async function compareThrough(
  test: TestVolume,
  path: string,
  contents: readonly Uint8Array[],
  where: string,
): Promise<void> {
  const cache = await openCache(path, CACHE_SETTINGS, {
    key: { slots: [{ label: 'test', secret: SECRET }] },
  });
  const { volume } = await test.client({ cache });
  for (const [at, name] of FILES.entries()) {
    const file = await volume.open(name);
    const expected = contents[at] ?? new Uint8Array();
    for (const bytes of [await readFile(volume, name), await file.readFile()]) {
      expect(whyNotEqual(bytes, expected), `${where}: ${name} through ${path}`).toBeUndefined();
    }
    await file.close();
  }
  await volume.close();
  await cache.close();
}

/** What the dead writers left is garbage, and nothing else is. */
async function sweep(test: TestVolume): Promise<void> {
  for (let pass = 1; pass <= 3; pass += 1) {
    const aheadMs = pass * (GRACE_MS + HOUR_MS);
    const { volume } = await test.client({
      nowMs: () => Date.now() + aheadMs,
      around: store => new StoreAhead(store, aheadMs),
    });
    await collectGarbage(volume);
    await volume.close();
  }
  const { volume } = await test.client();
  expect(await deepCheck(volume)).toEqual({ damages: [], unreferenced: 0 });
  await volume.close();
}

/** A store whose clock is ahead, so that its objects are older. */
class StoreAhead extends ForwardingStore {
  readonly #aheadMs: number;

  constructor(inner: ObjectStore, aheadMs: number) {
    super(inner, call => call.send());
    this.#aheadMs = aheadMs;
  }

  override async now(options?: CallOptions): Promise<number> {
    return (await super.now(options)) + this.#aheadMs;
  }
}

it.runIf(IS_LONG)(
  'a killed writer leaves each file as it was after some change, with everything that was synced',
  {
    timeout: soakSize(300_000, 900_000),
  },
  async () => {
    const sums: Sums = { unsynced: 0, newer: 0 };
    for (let life = 0; life < soakSize(1, 20); life += 1) await live(SEED + life, sums);
    // Otherwise nothing was at stake.
    expect(sums.unsynced, `seed ${SEED}`).toBeGreaterThan(0);
    if (IS_LONG) expect(sums.newer, `seed ${SEED}`).toBeGreaterThan(0);
  },
);
