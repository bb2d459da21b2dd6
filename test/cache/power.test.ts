/**
 * The power is cut at any system call, also while a cache is being opened. After it, the databases are as
 * they were, as at their last sync, torn, or gone. Acknowledged dirty units must be there, and everything
 * that is listed must have been given once.
 */
import { copyFileSync, existsSync, rmSync, statSync, truncateSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { seededChance } from '../../src/base/chance.ts';
import { isNetsealError } from '../../src/base/errors.ts';
import type { Cache } from '../../src/cache/cache.ts';
import { openCache } from '../../src/cache/open.ts';
import { SEED, soakSize } from '../support/soak.ts';
import { FaultyFiles, NO_FAULTS } from './faulty-files.ts';
import { collect, idOf, KIB, newFolder, RAW_KEY, tagOf, unitOf } from './support.ts';

const SOAK_MS = soakSize(1_500, 60_000);
const VOLUME = idOf(1);
const OBJECT = idOf(2);
const PLACES = 12;
const ROUNDS = 6;
const SETTINGS = { budgetBytes: 256 * KIB, zoneBytes: 8 * KIB, disk: false, maintenanceMs: 0 } as const;

interface Given {
  readonly serial: number;
  readonly places: readonly number[];
}

class PowerRun {
  readonly #folder = newFolder();
  readonly #chance: () => number;
  #files: FaultyFiles;
  #cache: Cache | undefined;
  readonly #given = new Map<number, Given>();
  /** Dirty batches by id, except released ones. */
  readonly #acknowledged = new Map<number, Given>();
  #serial = 0;

  constructor(seed: number) {
    this.#chance = seededChance(seed);
    this.#files = new FaultyFiles(this.#folder, this.#chance);
  }

  async run(): Promise<number> {
    for (let round = 0; round < ROUNDS; round += 1) {
      this.#files.callsLeft =
        this.#chance() < 0.8 ? Math.floor(300 ** this.#chance()) : Number.POSITIVE_INFINITY;
      await this.#open();
      if (this.#chance() < 0.5) this.#files.rates = { EIO: 0.03, ENOSPC: 0.02, short: 0.1 };
      for (let step = 0; step < 60 && this.#cache !== undefined && !this.#files.isDead; step += 1)
        await this.#step();
      await this.#cut();
      await this.#open();
      await this.#check();
      // Half of the caches are closed in order before the next crash.
      if (this.#chance() < 0.5) await this.#cache?.close();
      else await this.#cut();
      this.#cache = undefined;
    }
    return this.#serial;
  }

  /** Leaves no cache open when the power goes meanwhile. */
  async #open(): Promise<void> {
    this.#files.rates = NO_FAULTS;
    try {
      this.#cache = await openCache(this.#folder, SETTINGS, { key: RAW_KEY, files: this.#files });
    } catch (error) {
      if (!isNetsealError(error) || !this.#files.isDead) throw error;
      this.#cache = undefined;
    }
  }

  async #step(): Promise<void> {
    const cache = this.#cache;
    if (cache === undefined) return;
    const what = this.#chance();
    const place = Math.floor(this.#chance() * PLACES);
    const volume = cache.volume(VOLUME);
    if (what < 0.4) await Promise.all([this.#appendDirty(cache), this.#appendDirty(cache)]);
    else if (what < 0.6) await this.#release(cache);
    else if (what < 0.8) await volume.put([{ objectId: OBJECT, index: place, bytes: unitOf(place, 3000) }]);
    else if (what < 0.85) volume.invalidate(OBJECT);
    else if (what < 0.9) await cache.flush();
    else await cache.maintain();
  }

  async #appendDirty(cache: Cache): Promise<void> {
    this.#serial += 1;
    const places = Array.from({ length: 1 + Math.floor(this.#chance() * 3) }, () =>
      Math.floor(this.#chance() * PLACES),
    );
    const given: Given = { serial: this.#serial, places };
    this.#given.set(given.serial, given);
    const units = places.map((index, at) => ({
      volumeId: VOLUME,
      objectId: OBJECT,
      index,
      bytes: dirtyUnit(given.serial, at),
    }));
    try {
      const id = await cache.appendDirty({ units, payload: Buffer.from(`${given.serial}`) });
      expect(this.#acknowledged.has(id), `id ${id} is used twice`).toBe(false);
      this.#acknowledged.set(id, given);
    } catch (error) {
      expect(isNetsealError(error), String(error)).toBe(true);
    }
  }

  async #release(cache: Cache): Promise<void> {
    const [id] = this.#acknowledged.keys();
    if (id === undefined) return;
    this.#acknowledged.delete(id);
    await cache.releaseDirty([id]);
  }

  async #cut(): Promise<void> {
    const after = this.#files.powerCut();
    // Whatever is written to the databases from now on is lost.
    const paths = ['cache.db', 'cache.db-wal'].map(name => `${this.#folder}/${name}`);
    for (const path of paths) if (existsSync(path)) copyFileSync(path, `${path}.cut`);
    await this.#cache?.close();
    this.#cache = undefined;
    for (const path of paths) {
      rmSync(path, { force: true });
      if (existsSync(`${path}.cut`)) copyFileSync(`${path}.cut`, path);
      rmSync(`${path}.cut`, { force: true });
    }
    this.#spoilDatabase();
    this.#files = after;
  }

  #spoilDatabase(): void {
    const what = this.#chance();
    const [database, log] = [`${this.#folder}/cache.db`, `${this.#folder}/cache.db-wal`];
    if (what < 0.2) for (const path of [database, log]) rmSync(path, { force: true });
    // As of its last checkpoint.
    else if (what < 0.5) rmSync(log, { force: true });
    else if (what < 0.7 && existsSync(log))
      truncateSync(log, Math.floor(this.#chance() * statSync(log).size));
  }

  async #check(): Promise<void> {
    const cache = this.#cache;
    if (cache === undefined) throw new Error('the cache cannot be opened');
    const listed = await collect(cache.listDirty());
    const found = new Map(
      listed.map(({ id, payload, units }) => {
        const given = this.#given.get(Number(Buffer.from(payload).toString()));
        expect(units.map(({ index }) => index)).toEqual(given?.places);
        expect(units.map(({ tag }) => Buffer.from(tag).toString('hex'))).toEqual(
          given?.places.map((_, at) => Buffer.from(tagOf(dirtyUnit(given.serial, at))).toString('hex')),
        );
        return [id, given] as const;
      }),
    );
    for (const [id, given] of this.#acknowledged) {
      expect(found.get(id)?.serial, `batch ${id} of ${given.serial} is lost`).toBe(given.serial);
    }
    // Every listed batch is whole, and the latest version of a unit is found.
    const latest = new Map<number, Uint8Array>();
    for (const { id } of listed) {
      const given = found.get(id);
      for (const [at, place] of (given?.places ?? []).entries())
        latest.set(place, dirtyUnit(given?.serial ?? 0, at));
    }
    for (const [index, bytes] of latest) {
      const into = new Uint8Array(bytes.byteLength);
      const request = { objectId: OBJECT, index, expectedTag: tagOf(bytes), into };
      expect(await cache.volume(VOLUME).get([request]), `dirty unit ${index}`).toEqual([bytes.byteLength]);
      expect(Buffer.compare(into, bytes)).toBe(0);
    }
    expect(await collect(cache.verify())).not.toContainEqual(
      expect.objectContaining({ what: 'dirty batch' }),
    );
  }
}

function dirtyUnit(serial: number, at: number): Uint8Array {
  const seed = serial * 4 + at;
  return unitOf(seed, 72 + ((seed * 577) % 3000));
}

describe('a power cut at any call', () => {
  it('takes nothing away that was acknowledged', async () => {
    const endMs = performance.now() + SOAK_MS;
    let batches = 0;
    for (let seed = SEED; seed === SEED || performance.now() < endMs; seed += 1) {
      batches += await new PowerRun(seed).run().catch((error: unknown) => {
        throw new Error(`seed ${seed}: ${error}`, { cause: error });
      });
    }
    expect(batches).toBeGreaterThan(10);
  });
});
