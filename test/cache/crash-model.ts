/**
 * A model of what the folder of a killed writer must hold, and what it may hold. It is told what the writer
 * reported. An operation that was begun and not finished may have happened or not, until the folder has been
 * looked at.
 */
import { readdirSync } from 'node:fs';
import { expect } from 'vitest';
import { toHex } from '../../src/base/bytes.ts';
import type { Cache } from '../../src/cache/cache.ts';
import type { ListedBatch } from '../../src/cache/dirty/intake.ts';
import {
  type CrashLine,
  crashUnit,
  FILES,
  PLACES,
  type PlannedUnit,
  VERSIONS,
  VOLUME,
} from './fixtures/crash-plan.ts';
import { collect, tagOf } from './support.ts';

interface Batch {
  readonly serial: number;
  readonly units: readonly PlannedUnit[];
  id: number | undefined;
  state: 'begun' | 'acknowledged' | 'releasing' | 'released';
}

const key = ({ file, place }: { file: number; place: number }): string => `${file}/${place}`;

export class CrashModel {
  /** Keys that may open the cache, the most likely first. */
  keys: number[] = [0];
  /** A key that must not open the cache any more. */
  noKey: number | undefined;
  /** True when a wipe was begun: the cache may be gone. If its header is there, all of it must be. */
  isWiping = false;
  readonly #batches = new Map<number, Batch>();
  readonly #ids = new Set<number>();
  /** Versions that may be served. */
  readonly #versions = new Map<string, Set<number>>();
  /** What a file's pin may be, and its coherency data. */
  readonly #pins = new Map<number, Set<boolean>>();
  readonly #coherency = new Map<number, Set<string>>();

  get acknowledged(): number {
    return this.#ids.size;
  }

  tell(line: CrashLine): void {
    switch (line.at) {
      case 'put':
        for (const unit of line.units) this.#mayServe(unit);
        return;
      case 'dirty':
        this.#batches.set(line.serial, {
          serial: line.serial,
          units: line.units,
          id: undefined,
          state: 'begun',
        });
        for (const unit of line.units) this.#mayServe(unit);
        return;
      case 'dirty done':
        this.#acknowledge(line.serial, line.id);
        return;
      case 'release':
      case 'release done':
        for (const batch of this.#batches.values()) {
          if (batch.id !== undefined && line.ids.includes(batch.id))
            batch.state = line.at === 'release' ? 'releasing' : 'released';
        }
        return;
      case 'invalidate':
        return;
      case 'invalidate done':
        this.#invalidate(line.file);
        return;
      case 'pin':
        this.#possible(this.#pins, line.file, false).add(line.isOn);
        return;
      case 'pin done':
        this.#pins.set(line.file, new Set([line.isOn]));
        return;
      case 'coherency':
        this.#possible(this.#coherency, line.file, '').add(line.text);
        return;
      case 'coherency done':
        this.#coherency.set(line.file, new Set([line.text]));
        return;
      case 'key':
        this.keys = [line.key, ...this.keys];
        return;
      case 'key done':
        this.noKey = this.keys.at(-1);
        this.keys = [line.key];
        return;
      case 'wipe':
        this.isWiping = true;
        return;
      case 'wipe done':
        this.forget();
    }
  }

  /** The cache is gone. */
  forget(): void {
    this.isWiping = false;
    this.noKey = undefined;
    this.#batches.clear();
    this.#ids.clear();
    this.#versions.clear();
    this.#pins.clear();
    this.#coherency.clear();
  }

  /** Checks a cache that was opened after a kill. Returns how many units it serves. */
  async check(cache: Cache, folder: string): Promise<number> {
    await this.#checkDirty(cache);
    const served = await this.#checkServed(cache);
    this.#checkRows(cache);
    expect(await collect(cache.verify())).toEqual([]);
    expect(cache.statistics.problems).toEqual({
      full: 0,
      io: 0,
      gone: 0,
      denied: 0,
      damaged: 0,
      database: 0,
    });
    checkFolder(cache, folder);
    return served;
  }

  #acknowledge(serial: number, id: number): void {
    const batch = this.#batches.get(serial);
    if (batch === undefined) throw new Error(`batch ${serial} was not announced`);
    expect(this.#ids.has(id), `id ${id} is used again`).toBe(false);
    this.#ids.add(id);
    batch.id = id;
    batch.state = 'acknowledged';
  }

  #mayServe(unit: PlannedUnit): void {
    const versions = this.#versions.get(key(unit)) ?? new Set();
    versions.add(unit.version);
    this.#versions.set(key(unit), versions);
  }

  #possible<Value>(map: Map<number, Set<Value>>, file: number, first: Value): Set<Value> {
    const values = map.get(file) ?? new Set([first]);
    map.set(file, values);
    return values;
  }

  /** Dirty batches must be there. */
  #invalidate(file: number | undefined): void {
    for (const [place, versions] of this.#versions) {
      if (file === undefined || place.startsWith(`${file}/`)) versions.clear();
    }
    for (const { units, state } of this.#batches.values()) {
      for (const unit of units) if (state !== 'released') this.#mayServe(unit);
    }
  }

  async #checkDirty(cache: Cache): Promise<void> {
    const listed = await collect(cache.listDirty());
    const serials = new Set<number>();
    for (const each of listed) {
      const { serial } = JSON.parse(Buffer.from(each.payload).toString()) as { serial: number };
      serials.add(serial);
      this.#checkBatch(each, serial);
    }
    for (const batch of [...this.#batches.values()]) {
      if (serials.has(batch.serial)) continue;
      expect(batch.state, `batch ${batch.serial}, id ${batch.id}, is lost`).not.toBe('acknowledged');
      // It will not come back.
      this.#batches.delete(batch.serial);
    }
    await this.#checkLatest(cache, listed);
  }

  #checkBatch(listed: ListedBatch, serial: number): void {
    const batch = this.#batches.get(serial);
    expect(batch, `batch ${serial}, id ${listed.id}, was wiped, released, or never there`).toBeDefined();
    if (batch === undefined) return;
    expect(batch.state, `batch ${serial}, id ${listed.id}`).not.toBe('released');
    if (batch.state === 'begun') this.#acknowledge(serial, listed.id);
    expect(batch.id).toBe(listed.id);
    // It stays, whatever the writer was about to do.
    batch.state = 'acknowledged';
    const tags = listed.units.map(({ index, objectId, tag }) => `${toHex(objectId)} ${index} ${toHex(tag)}`);
    expect(tags).toEqual(
      batch.units.map(({ file, place, version }) => {
        return `${toHex(FILES[file]!)} ${place} ${toHex(tagOf(crashUnit(file, place, version)))}`;
      }),
    );
  }

  /** Of two dirty versions, the later one must be found. */
  async #checkLatest(cache: Cache, listed: readonly ListedBatch[]): Promise<void> {
    const latest = new Map<string, PlannedUnit>();
    const byId = new Map([...this.#batches.values()].map(batch => [batch.id, batch]));
    for (const { id } of listed) for (const unit of byId.get(id)?.units ?? []) latest.set(key(unit), unit);
    const units = [...latest.values()];
    expect(await read(cache, units), 'dirty units that are found').toEqual(units.map(() => true));
  }

  async #checkServed(cache: Cache): Promise<number> {
    const units = FILES.flatMap((_, file) =>
      Array.from({ length: PLACES * VERSIONS }, (_, at) => {
        return { file, place: Math.floor(at / VERSIONS), version: at % VERSIONS };
      }),
    );
    const isThere = await read(cache, units);
    const served = units.filter((_, at) => isThere[at]);
    const wrong = served.filter(unit => this.#versions.get(key(unit))?.has(unit.version) !== true);
    expect(wrong, 'units that were invalidated, or never there').toEqual([]);
    return served.length;
  }

  #checkRows(cache: Cache): void {
    const pinned = new Set(
      cache.pins().map(({ objectId }) => (objectId === undefined ? '' : toHex(objectId))),
    );
    for (const [file, values] of this.#pins) {
      const isOn = pinned.has(toHex(FILES[file]!));
      expect([...values], `pin of file ${file}`).toContain(isOn);
      this.#pins.set(file, new Set([isOn]));
    }
    for (const [file, values] of this.#coherency) {
      const text = Buffer.from(cache.volume(VOLUME).coherency(FILES[file]!) ?? []).toString();
      expect([...values], `coherency data of file ${file}`).toContain(text);
      this.#coherency.set(file, new Set([text]));
    }
  }
}

/** Returns which of these versions the cache has. Throws when it serves other bytes. */
async function read(cache: Cache, units: readonly PlannedUnit[]): Promise<boolean[]> {
  const requests = units.map(({ file, place, version }) => {
    const bytes = crashUnit(file, place, version);
    const into = new Uint8Array(bytes.byteLength);
    return { objectId: FILES[file]!, index: place, expectedTag: tagOf(bytes), into, bytes };
  });
  const lengths = await cache.volume(VOLUME).get(requests);
  return requests.map(({ into, bytes, index }, at) => {
    if (lengths[at] === 0) return false;
    if (Buffer.compare(into, bytes) !== 0) throw new Error(`what is served for unit ${index} is wrong`);
    return true;
  });
}

/** The folder must hold no file that the cache does not know. */
function checkFolder(cache: Cache, folder: string): void {
  const { small, main, pinned, dirty } = cache.statistics.zones;
  expect(readdirSync(`${folder}/zones`)).toHaveLength(small + main + pinned);
  expect(readdirSync(`${folder}/dirty`)).toHaveLength(dirty);
  const known = ['cache.db', 'cache.db-wal', 'dirty', 'header', 'index', 'lock', 'owner', 'zones'];
  expect(readdirSync(folder).filter(name => !known.includes(name))).toEqual([]);
}
