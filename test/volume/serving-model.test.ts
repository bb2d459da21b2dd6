/**
 * Clients that commit changes of one file through netfs's server, at random, over stores that lose requests and
 * answers, while others rename it, promote it and compact it. Each version must be what exactly one commit has
 * made of the version before.
 */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type Chance, seededChance } from '../../src/base/chance.ts';
import { type ErrorCode, isNetsealError } from '../../src/base/errors.ts';
import type { CommitSub, Receipt } from '../../src/netfs/server.ts';
import { seededFaults } from '../../src/server/faults.ts';
import { collectGarbage } from '../../src/volume/care/gc.ts';
import { UNIT_BYTES } from '../netfs/server-contract.ts';
import { SEED, soakSize } from '../support/soak.ts';
import { deepCheck, GRACE_MS, TimedVolume } from './gc-support.ts';
import { expectSeeds, type File, makeFile, openFile } from './serving-support.ts';
import { bytesOf, type Client, writePacked } from './support.ts';

const CLIENTS = 3;
const UNITS_MAX = 12;
const STEPS: number = soakSize(50, 1500);
/** More than the contract's seeds would need a longer search. */
const SEEDS_MAX = 19;

type Seeds = readonly (number | undefined)[];

interface Attempt {
  readonly sub: CommitSub;
  readonly after: Seeds;
  /** True when its records could not be stored: then it never happens. */
  isDead: boolean;
}

let timed: TimedVolume;

beforeEach(async () => {
  timed = await TimedVolume.create();
});

afterEach(async () => {
  await timed.test.close();
});

async function codeAfter(work: Promise<unknown>): Promise<ErrorCode | undefined> {
  try {
    await work;
    return undefined;
  } catch (error) {
    if (isNetsealError(error)) return error.code;
    throw error;
  }
}

function pick<Item>(chance: Chance, items: readonly Item[]): Item {
  return items[Math.floor(chance() * items.length)] as Item;
}

/** What a file is, version by version, as far as anybody has seen it. */
class Versions {
  readonly #seen = new Map<string, Seeds>();
  /** Commits whose answer was lost, and those that are under way. */
  readonly #open = new Set<Attempt>();

  of(version: string): Seeds {
    return this.#seen.get(version) ?? expect.fail(`nobody has seen version ${version}`);
  }

  begin(attempt: Attempt): void {
    this.#open.add(attempt);
  }

  end(attempt: Attempt): void {
    this.#open.delete(attempt);
  }

  note(version: string, seeds: Seeds): void {
    const known = this.#seen.get(version);
    if (known !== undefined) expect(seeds).toEqual(known);
    this.#seen.set(version, seeds);
  }

  /** Fails unless the version is known, or is what an open attempt makes. */
  found(version: string, seeds: Seeds): void {
    const isKnown = this.#seen.has(version);
    const made = [...this.#open].some(({ after }) => JSON.stringify(after) === JSON.stringify(seeds));
    expect(isKnown || made).toBe(true);
    this.note(version, seeds);
  }
}

class Player {
  readonly client: Client;
  readonly file: File;
  readonly #versions: Versions;
  readonly #chance: Chance;
  #lost: Attempt | undefined;
  stepCount = 0;
  commitCount = 0;

  constructor(client: Client, file: File, versions: Versions, chance: Chance) {
    this.client = client;
    this.file = file;
    this.#versions = versions;
    this.#chance = chance;
  }

  async step(): Promise<void> {
    const { file } = this;
    this.stepCount += 1;
    const attempt = this.#lost ?? (await this.#newAttempt());
    this.#versions.begin(attempt);
    this.#lost = undefined;
    try {
      const { version, sizeBytes } = await file.server.commit(file.handle, attempt.sub);
      this.#versions.note(version, attempt.after);
      file.version = version;
      file.sizeBytes = sizeBytes;
      this.commitCount += 1;
    } catch (error) {
      if (!isNetsealError(error)) throw error;
      if (error.code === 'EUNCERTAIN') {
        this.#lost = attempt;
        return;
      }
      expect(['ECONFLICT', 'EUNAVAILABLE']).toContain(error.code);
      if (error.code === 'ECONFLICT') await this.#refresh();
      else if (!attempt.isDead) {
        // The very same commit again, as it may be the one whose answer was lost before.
        this.#lost = attempt;
        return;
      }
    }
    this.#versions.end(attempt);
  }

  async #refresh(): Promise<void> {
    const { file } = this;
    for (;;) {
      if ((await codeAfter(file.refresh())) !== undefined) continue;
      const seeds = await this.#read();
      if (seeds === undefined) continue;
      this.#versions.found(file.version, seeds);
      return;
    }
  }

  /** Reads all units; undefined when the store refuses. */
  async #read(): Promise<Seeds | undefined> {
    const unitCount = this.file.sizeBytes / UNIT_BYTES;
    try {
      return await this.file.seeds(0, unitCount);
    } catch (error) {
      if (isNetsealError(error)) expect(['EUNAVAILABLE', 'ETRUNCATED']).toContain(error.code);
      return undefined;
    }
  }

  async #newAttempt(): Promise<Attempt> {
    const { file } = this;
    const chance = this.#chance;
    const before = this.#versions.of(file.version);
    const cutUnits = chance() < 0.3 ? Math.floor(chance() * (before.length + 1)) : before.length;
    const unitCount = Math.max(cutUnits, Math.floor(chance() * UNITS_MAX));
    const after: (number | undefined)[] = Array.from({ length: unitCount }, (_, at) =>
      at < cutUnits ? before[at] : undefined,
    );
    const written = [...after.keys()].filter(() => chance() < 0.3);
    const holes = [...after.keys()].filter(index => !written.includes(index) && chance() < 0.05);
    const seed = 1 + Math.floor(chance() * SEEDS_MAX);
    for (const index of written) after[index] = seed;
    for (const index of holes) after[index] = undefined;
    const receipts = new Map<number, Receipt | undefined>(holes.map(index => [index, undefined]));
    const sizes = { sizeBytes: unitCount * UNIT_BYTES, cutBytes: cutUnits * UNIT_BYTES };
    const attempt = { sub: { ...sizes, receipts, ifVersion: file.version }, after, isDead: false };
    if (written.length > 0) {
      const writing = file.server.write({ handle: file.handle, units: await file.seal(written, seed) });
      const lose = (): void => {
        attempt.isDead = true;
      };
      writing.done.catch(lose);
      for (const [at, receipt] of (await writing.placed).entries()) receipts.set(written[at] ?? 0, receipt);
    }
    return attempt;
  }
}

it(`each version is what one commit has made, seed ${SEED}`, async () => {
  const chance = seededChance(SEED);
  const steady = await timed.client();
  const { volume } = steady;
  if (chance() < 0.5) await writePacked(volume, '/file', bytesOf(1, 0));
  else await makeFile(steady, '/file', 0, 1);
  const versions = new Versions();
  const players: Player[] = [];
  for (let at = 0; at < CLIENTS; at += 1) {
    let isOn = false;
    const plan = seededFaults(SEED + at, 0.08, ['refused', 'lost', 'dropped', 'vague']);
    const client = await timed.client({ faults: request => (isOn ? plan(request) : undefined) });
    const file = await openFile(client, '/file');
    versions.note(file.version, []);
    players.push(new Player(client, file, versions, chance));
    isOn = true;
  }
  let name = 'file';
  for (let step = 0; step < STEPS; step += 1) {
    const others: (() => Promise<unknown>)[] = [
      async () => {
        const next = `name-${step}`;
        const { root } = volume;
        await volume.names.rename({ directory: root, name }, { directory: root, name: next });
        name = next;
      },
      async () => {
        timed.wait(GRACE_MS / 20);
        await collectGarbage(volume);
      },
      () => Promise.all(players.map(({ client }) => codeAfter(client.volume.server.keepYoung()))),
    ];
    const busy = players.filter(() => chance() < 0.6);
    await Promise.all([
      ...busy.map(player => player.step()),
      ...(chance() < 0.2 ? [pick(chance, others)()] : []),
    ]);
  }
  for (const { stepCount, commitCount } of players) expect(commitCount).toBeGreaterThan(stepCount / 20);
  const last = await openFile(steady, `/${name}`);
  const seeds = await last.seeds(0, last.sizeBytes / UNIT_BYTES);
  versions.found(last.version, seeds);
  await expectSeeds(steady, `/${name}`, seeds);
  expect((await deepCheck(volume)).damages).toEqual([]);
});
