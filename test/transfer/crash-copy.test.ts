/** `netseal put` and `netseal get` that are killed: nothing is half there, and a repetition goes on where they were. */
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { seededChance } from '../../src/base/chance.ts';
import { KIB, MIB } from '../../src/base/geometry.ts';
import { isPartialName } from '../../src/transfer/local-names.ts';
import { type Finished, finish, launch, run } from '../cli/run.ts';
import { mixedBytes } from '../pipeline/support.ts';
import { IS_LONG, SEED, soakSize } from '../support/soak.ts';
import { comparable, lookAtTree } from './copy-support.ts';

const ROUNDS = soakSize(2, 20);
/** Its put stores many segments, so that it can be killed between two. */
const LARGE_BYTES = soakSize(128, 300) * MIB;
const TREE_FILES = soakSize(1200, 6000);
const KEY = ['--key-file', 'key'];
const chance = seededChance(SEED);

let folder = '';

beforeEach(async () => {
  const base = fs.existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
  folder = fs.mkdtempSync(join(base, 'netseal-crash-'));
  fs.writeFileSync(at('key'), mixedBytes(32, 9));
  expect((await netseal('init', 'vol')).exitCode).toBe(0);
});

afterEach(() => {
  fs.rmSync(folder, { recursive: true });
});

const at = (...names: string[]): string => join(folder, ...names);

function netseal(command: string, ...args: string[]): Promise<Finished> {
  return run([command, ...KEY, ...args], { cwd: folder, env: { NETSEAL_STATE: at('state') } });
}

/** Runs a command and kills it, within so many milliseconds or when something has happened; true if it was quicker. */
async function killed(
  when: number | (() => boolean),
  ...[command = '', ...args]: string[]
): Promise<boolean> {
  const child = launch([command, ...KEY, ...args], { cwd: folder, env: { NETSEAL_STATE: at('state') } });
  child.stdin.end();
  const finished = finish(child);
  const ended = new AbortController();
  void finished.then(() => ended.abort());
  if (typeof when === 'number') await Promise.race([finished, pause(200 + chance() * when)]);
  else while (!ended.signal.aborted && !when()) await pause(5);
  child.kill('SIGKILL');
  const { exitCode } = await finished;
  return exitCode === 0;
}

/** Half of it can be compressed. */
function makeLarge(path: string, seed: number): void {
  const block = Buffer.concat([mixedBytes(509 * KIB, seed), Buffer.alloc(515 * KIB, `text ${seed} `)]);
  const fd = fs.openSync(path, 'w');
  for (let done = 0; done < LARGE_BYTES; done += block.byteLength) {
    block.writeUInt32LE(done, 0);
    fs.writeSync(fd, block);
  }
  fs.closeSync(fd);
}

function hash(path: string): string {
  return createHash('sha256').update(fs.readFileSync(path)).digest('hex');
}

function segments(): string[] {
  const path = at('vol', 'objects', 's+');
  return fs.existsSync(path) ? fs.readdirSync(path) : [];
}

/** Those that hold something. */
function journals(): string[] {
  return fs
    .readdirSync(at('state'), { recursive: true, encoding: 'utf8' })
    .filter(name => /journals\/./.test(name) && fs.statSync(at('state', name)).size > 16);
}

function makeTree(path: string, files: number): void {
  for (let file = 0; file < files; file += 1) {
    const into = join(path, `${file % 7}`, `${file % 11}`);
    fs.mkdirSync(into, { recursive: true });
    fs.writeFileSync(join(into, `${file}`), Buffer.alloc(1 + ((file * 37) % 9000), mixedBytes(1021, file)));
    if (file % 50 === 0) fs.linkSync(join(into, `${file}`), join(path, `link-${file}`));
  }
}

describe(`a put that is killed (seed ${SEED})`, () => {
  it.runIf(IS_LONG)(
    'leaves the old version of a large file or has the new one, and goes on where it was',
    async () => {
      const hashes = new Map<string, string>();
      fs.mkdirSync(at('in'));
      for (const version of ['old', 'new']) {
        makeLarge(at('in', version), version.length + version.charCodeAt(0));
        hashes.set(version, hash(at('in', version)));
      }
      expect((await netseal('put', 'in/old', 'vol:/file')).exitCode).toBe(0);
      const ofOne = segments().length;
      const known = new Set(segments());
      let resumedCount = 0;
      for (let round = 0; round < ROUNDS; round += 1) {
        const before = segments();
        // Once for certain in the middle.
        const isBegun = (): boolean => journals().length > 0 && segments().length > before.length + 3;
        const isDone = await killed(round === 0 ? isBegun : 1200, 'put', 'in/new', 'vol:/file');
        // Whatever was there stays.
        for (const name of before) expect(segments()).toContain(name);
        if (journals().length > 0) resumedCount += 1;
        expect((await netseal('get', 'vol:/file', 'out')).exitCode).toBe(0);
        expect([hashes.get('old'), hashes.get('new')]).toContain(hash(at('out')));
        if (isDone) {
          expect(hash(at('out'))).toBe(hashes.get('new'));
          break;
        }
      }
      expect((await netseal('put', 'in/new', 'vol:/file')).exitCode).toBe(0);
      expect((await netseal('get', 'vol:/file', 'out')).exitCode).toBe(0);
      expect(hash(at('out'))).toBe(hashes.get('new'));
      expect(
        fs.readdirSync(at('state'), { recursive: true }).filter(name => /journals\/./.test(`${name}`)),
      ).toEqual([]);
      expect(resumedCount).toBeGreaterThan(0);
      // Of each round that was killed no more is lost than was on its way: three segments, and what they were journalled with.
      const sent = segments().filter(name => !known.has(name)).length;
      expect(sent).toBeLessThanOrEqual(ofOne + 5 * ROUNDS);
      // Put again, it is unchanged.
      const after = segments().length;
      expect(
        JSON.parse(String((await netseal('put', '--json', 'in/new', 'vol:/file')).stdout)).unchanged,
      ).toBe(1);
      expect(segments().length).toBe(after);
    },
  );

  it.runIf(IS_LONG)('leaves whole files of a tree, and a repetition completes it', async () => {
    makeTree(at('tree'), TREE_FILES);
    const original = lookAtTree(at('tree'));
    for (let round = 0; round < ROUNDS; round += 1) {
      const isDone = await killed(900, 'put', '-r', 'tree', 'vol:/tree');
      const got = await netseal('get', '-r', 'vol:/', `out-${round}`);
      expect(got.exitCode).toBe(0);
      const there = fs.existsSync(at(`out-${round}`, 'tree')) ? lookAtTree(at(`out-${round}`, 'tree')) : [];
      for (const [path, { type, content }] of there)
        expect(original.get(path)).toMatchObject({ type, content });
      fs.rmSync(at(`out-${round}`), { recursive: true });
      if (isDone) break;
    }
    expect((await netseal('put', '-r', 'tree', 'vol:/tree')).exitCode).toBe(0);
    expect((await netseal('get', '-r', 'vol:/tree', 'out')).exitCode).toBe(0);
    expect(comparable(lookAtTree(at('out')))).toEqual(comparable(original));
    const { stdout } = await netseal('put', '-r', '--json', 'tree', 'vol:/tree');
    expect(JSON.parse(String(stdout))).toMatchObject({ files: 0, folders: 0, links: 0, bytes: 0 });
  });
});

describe(`a get that is killed (seed ${SEED})`, () => {
  it.runIf(IS_LONG)(
    'leaves whole files only, and a repetition completes it and takes the leftovers away',
    async () => {
      makeTree(at('tree'), TREE_FILES / 2);
      makeLarge(at('tree', 'large'), 5);
      const original = lookAtTree(at('tree'));
      expect((await netseal('put', '-r', 'tree', 'vol:/tree')).exitCode).toBe(0);
      let leftovers = 0;
      for (let round = 0; round < ROUNDS; round += 1) {
        const isDone = await killed(900, 'get', '-r', 'vol:/tree', 'out');
        for (const [path, { type, content }] of fs.existsSync(at('out')) ? lookAtTree(at('out')) : []) {
          if (isPartialName(Buffer.from(basename(path)).toString('latin1'))) leftovers += 1;
          else expect(original.get(path)).toMatchObject({ type, content });
        }
        fs.rmSync(at('out', 'large'), { force: true });
        if (isDone) break;
      }
      // Whatever did not change for so long, and is not locked, is nobody's any more.
      await pause(leftovers > 0 ? 5_500 : 0);
      expect((await netseal('get', '-r', 'vol:/tree', 'out')).exitCode).toBe(0);
      expect(comparable(lookAtTree(at('out')))).toEqual(comparable(original));
    },
  );
});
