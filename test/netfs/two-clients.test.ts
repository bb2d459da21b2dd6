/**
 * Two clients write one file by chance, each on the version that it knows: what changes different units is joined,
 * what does not goes into a stash. Nothing that was written is lost, unless somebody overwrote it who had seen it.
 * `NETSEAL_SEED` replays a failure.
 */
import { describe, expect, it } from 'vitest';
import { type Chance, seededChance } from '../../src/base/chance.ts';
import type { File } from '../../src/netfs/file.ts';
import type { CommitSub } from '../../src/netfs/server.ts';
import { IS_LONG, SEED, soakSize } from '../support/soak.ts';
import { whyNotEqual } from './file-model.ts';
import { Ledger, type Sectors, sectorsOf } from './ledger.ts';
import { isOfZeros, patternOf, SECTOR_BYTES } from './pattern.ts';
import { ScriptedReceipt } from './scripted-server.ts';
import { TestDisk, UNIT_BYTES } from './test-disk.ts';
import type { TurnFault } from './turn-script.ts';

const SECTORS = 16 * (UNIT_BYTES / SECTOR_BYTES);
const FAULTS: readonly TurnFault[] = ['refused', 'lost', 'dropped', 'full'];
const MAY_FAIL_WITH: ReadonlySet<unknown> = new Set(['ECONFLICT', 'EUNCERTAIN', 'EFULL', 'EUNAVAILABLE']);

interface Sums {
  conflicts: number;
  joined: number;
}

class TwoClients {
  readonly #test: TestDisk;
  readonly #chance: Chance;
  readonly #key: Uint8Array;
  readonly #ledger = new Ledger();
  readonly #stashes: Sectors[] = [];
  readonly #log: string[] = [];
  #writeCount = 0;
  #isHealed = false;

  static async play(seed: number, faultShare: number, sums: Sums): Promise<void> {
    const run = new TwoClients(await TestDisk.create(seed), seededChance(seed));
    try {
      await run.#play(faultShare, sums);
    } catch (error) {
      throw new Error(`seed ${seed}: ${error}\n${run.#log.slice(-50).join('\n')}`, { cause: error });
    }
  }

  private constructor(test: TestDisk, chance: Chance) {
    this.#test = test;
    this.#chance = chance;
    this.#key = test.add();
  }

  async #play(faultShare: number, sums: Sums): Promise<void> {
    const { turns } = this.#test;
    const files = new Map<string, File>();
    for (const name of ['a', 'b']) {
      const client = this.#test.client(name, {
        fault: () => {
          if (this.#isHealed || this.#chance() >= faultShare) return undefined;
          return FAULTS[this.#below(FAULTS.length)];
        },
      });
      const stash = (_: unknown, sub: CommitSub): Promise<void> => this.#stash(name, sub);
      let file: File | undefined;
      while (file === undefined) {
        file = await client.open(this.#key, { stash }).catch(() => undefined);
      }
      files.set(name, file);
    }
    for (let round = 0; round < 40; round += 1) {
      const calls = [...files].flatMap(([name, file]) =>
        this.#chance() < 0.7 ? [this.#act(name, file)] : [],
      );
      await turns.run(Promise.all(calls));
      if (this.#chance() < 0.3) await turns.pass(this.#below(4000));
    }
    this.#isHealed = true;
    for (const [name, file] of files) await this.#syncAtLast(name, file);
    // The first one may have to find out what the second one has done.
    await turns.pass(5000);
    const stored = await this.#test.stored(this.#key);
    for (const [name, file] of files) {
      const content = await turns.run(contentOf(file));
      expect(whyNotEqual(content, stored), `what ${name} sees`).toBeUndefined();
      await turns.run(file.close());
    }
    const sectors = sectorsOf(stored);
    expect(this.#ledger.torn(sectors), 'sectors of no write').toEqual([]);
    expect(this.#ledger.lost(sectors, this.#stashes).join('; '), 'lost').toBe('');
    expect(await this.#test.close()).toEqual([]);
    sums.conflicts += this.#stashes.length;
    if (this.#ledger.clientsIn(sectors).size > 1) sums.joined += 1;
  }

  async #act(name: string, file: File): Promise<void> {
    const chance = this.#chance();
    if (chance < 0.3) {
      await this.#attempt(`${name}: sync`, file.sync());
    } else if (chance < 0.36) {
      const sizeBytes = SECTOR_BYTES * this.#below(1 + file.sizeBytes / SECTOR_BYTES);
      const seen = await this.#read(file, sizeBytes, file.sizeBytes - sizeBytes);
      // What others have appended meanwhile was not seen, and is not cut off.
      if (seen === undefined || seen.byteLength !== file.sizeBytes - sizeBytes) return;
      this.#ledger.truncated(sizeBytes / SECTOR_BYTES, sectorsFrom(seen, sizeBytes));
      const turnCount = this.#test.turns.log.length;
      await this.#attempt(`${name}: truncate to ${sizeBytes}`, file.truncate(sizeBytes));
      if (turnCount < this.#test.turns.log.length) this.#ledger.waited(sizeBytes / SECTOR_BYTES);
    } else {
      await this.#write(name, file, this.#chance() < 0.2);
    }
  }

  async #write(name: string, file: File, isAtEnd: boolean): Promise<void> {
    const sectorCount = 1 + this.#below(20);
    const lengthBytes = sectorCount * SECTOR_BYTES;
    const offsetBytes = isAtEnd ? file.sizeBytes : SECTOR_BYTES * this.#below(SECTORS);
    const seen = await this.#read(file, offsetBytes, lengthBytes);
    if (seen === undefined) return;
    do this.#writeCount += 1;
    while (isOfZeros(this.#writeCount));
    const write = this.#writeCount;
    // If it does not wait, nothing comes between the look and the write.
    const writing = file.write(patternOf(write, offsetBytes, lengthBytes), { position: offsetBytes });
    const what = `${name}: write ${write} of ${sectorCount} at sector ${offsetBytes / SECTOR_BYTES}`;
    this.#ledger.wrote(name, write, offsetBytes / SECTOR_BYTES, sectorCount, sectorsFrom(seen, offsetBytes));
    const turnCount = this.#test.turns.log.length;
    await this.#attempt(what, writing);
    if (turnCount < this.#test.turns.log.length) {
      this.#ledger.waited(offsetBytes / SECTOR_BYTES, sectorCount, write);
    }
  }

  /** Reads what is there now. Returns undefined when that cannot be read, or takes time. */
  async #read(file: File, offsetBytes: number, lengthBytes: number): Promise<Uint8Array | undefined> {
    for (let attempt = 0; attempt < 3; attempt += 1) {
      const into = new Uint8Array(lengthBytes);
      const wanted = Math.max(0, Math.min(lengthBytes, file.sizeBytes - offsetBytes));
      const turnCount = this.#test.turns.log.length;
      const count = await file.read(into, { position: offsetBytes }).then(
        ({ bytesRead }) => bytesRead,
        () => undefined,
      );
      if (count === undefined || count < wanted) return undefined;
      // Otherwise the file may have changed while its old bytes were on their way. They are in pages now.
      if (this.#test.turns.log.length === turnCount) return into.subarray(0, count);
    }
    return undefined;
  }

  async #syncAtLast(name: string, file: File): Promise<void> {
    for (let attempt = 0; attempt < 4; attempt += 1) {
      if (await this.#attempt(`${name}: the last sync`, this.#test.turns.run(file.sync()))) return;
    }
    throw new Error(`${name} cannot sync`);
  }

  async #attempt(what: string, call: Promise<unknown>): Promise<boolean> {
    try {
      await call;
      this.#log.push(what);
      return true;
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined;
      this.#log.push(`${what}: ${code ?? error}`);
      if (!MAY_FAIL_WITH.has(code)) throw error;
      return false;
    }
  }

  /** Keeps what a client could not commit. */
  async #stash(name: string, sub: CommitSub): Promise<void> {
    const sectors: (number | undefined)[] = [];
    for (const [index, receipt] of sub.receipts) {
      if (!(receipt instanceof ScriptedReceipt)) continue;
      const plain = await this.#test.openRecord(this.#key, index, receipt);
      for (const [at, write] of sectorsFrom(plain, index * UNIT_BYTES).entries()) {
        sectors[index * (UNIT_BYTES / SECTOR_BYTES) + at] = write;
      }
    }
    this.#stashes.push(sectors);
    this.#log.push(`${name}: stash of units ${[...sub.receipts.keys()]}`);
  }

  #below(count: number): number {
    return Math.floor(this.#chance() * count);
  }
}

async function contentOf(file: File): Promise<Uint8Array> {
  const into = new Uint8Array(2 * (SECTORS + 4000) * SECTOR_BYTES);
  const { bytesRead } = await file.read(into, { position: 0 });
  return into.subarray(0, bytesRead);
}

/** The writes in the sectors of some bytes that lie at `offsetBytes` of the file. */
function sectorsFrom(bytes: Uint8Array, offsetBytes: number): Sectors {
  return sectorsOf(bytes, offsetBytes / SECTOR_BYTES);
}

describe('two clients of one file', () => {
  for (const [name, faultShare] of [
    ['that fails never', 0],
    ['that fails, and loses answers', 0.04],
  ] as const) {
    it(`on a server ${name}: lose nothing without a word`, async () => {
      const sums: Sums = { conflicts: 0, joined: 0 };
      for (let run = 0; run < soakSize(3, 150); run += 1) await TwoClients.play(SEED + run, faultShare, sums);
      expect(sums.conflicts, `seed ${SEED}`).toBeGreaterThan(0);
      if (IS_LONG) expect(sums.joined, `seed ${SEED}`).toBeGreaterThan(0);
    });
  }
});
