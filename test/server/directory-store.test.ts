import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { seededChance } from '../../src/base/chance.ts';
import { isNetsealError } from '../../src/base/errors.ts';
import { HOSTILE_KEYS } from '../../src/server/contract/keys.ts';
import { listAll, rejectionOf, text, textOf } from '../../src/server/contract/support.ts';
import { DIRECTORY_NAMES } from '../../src/server/directory-names.ts';
import { DirectoryStore } from '../../src/server/directory-store.ts';
import { keyProblem } from '../../src/server/store.ts';
import { checkProperty } from '../support/property.ts';
import { IS_LONG, SEED, soakSize } from '../support/soak.ts';
import { readValue } from './fixtures/objects.ts';

/** Three processes are killed in each. */
const KILL_ROUNDS = soakSize(8, 100);

const WRITER = fileURLToPath(new URL('fixtures/writer.ts', import.meta.url));

let parent = '';
let root = '';
const opened: DirectoryStore[] = [];
const children: ChildProcess[] = [];

beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'netseal-directory-'));
  root = join(parent, 'store');
});

afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  for (const store of opened.splice(0)) await store.close();
  rmSync(parent, { recursive: true });
});

async function open(durability: 'fsync' | 'none' = 'none', path = root): Promise<DirectoryStore> {
  const store = await DirectoryStore.open(path, { create: true, durability });
  opened.push(store);
  return store;
}

interface Writer {
  readonly child: ChildProcess;
  /** Resolves with what it printed, in lines, when it has ended. */
  readonly end: Promise<string[]>;
  readonly firstLine: Promise<void>;
}

function startWriter(...args: (string | number)[]): Writer {
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', WRITER, ...args.map(String)],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  children.push(child);
  let output = '';
  const firstLine = new Promise<void>(resolve => {
    child.stdout?.on('data', chunk => {
      output += chunk;
      if (output.includes('\n')) resolve();
    });
  });
  const end = once(child, 'close').then(() => output.split('\n').slice(0, -1));
  return { child, end, firstLine };
}

/** Every path below `folder`, with what kind it is. */
function tree(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .map(entry => `${entry.isDirectory() ? 'd' : 'f'} ${join(entry.parentPath, entry.name)}`)
    .sort();
}

describe('names on the disk', () => {
  it('are readable for ordinary keys', () => {
    expect(DIRECTORY_NAMES.keyToPath('s/3fa9')).toEqual({ folders: ['s+'], file: '3fa9' });
    expect(DIRECTORY_NAMES.keyToPath('i/3fa9@5')).toEqual({ folders: ['i+'], file: '3fa9@5' });
    expect(DIRECTORY_NAMES.keyToPath('a')).toEqual({ folders: [], file: 'a' });
    expect(DIRECTORY_NAMES.keyToPath('a/b')).toEqual({ folders: ['a+'], file: 'b' });
    expect(DIRECTORY_NAMES.keyToPath('A/.x')).toEqual({ folders: ['%41+'], file: '%2ex' });
    expect(DIRECTORY_NAMES.keyToPath('x'.repeat(130))).toEqual({
      folders: [`${'x'.repeat(128)}++`],
      file: 'xx',
    });
  });

  it('are one to one with keys, differ by more than case, are short and never special', () => {
    const segment = fc.oneof(
      fc.string({ unit: 'binary', minLength: 1, maxLength: 200 }),
      fc.string({
        unit: fc.constantFrom('a', '.', '+', 'A', '%', '2', 'e', ' '),
        minLength: 1,
        maxLength: 300,
      }),
    );
    const keys = fc
      .array(segment, { minLength: 1, maxLength: 4 })
      .map(segments => segments.join('/'))
      .filter(key => keyProblem(key) === undefined);
    const check = (key: string): void => {
      const path = DIRECTORY_NAMES.keyToPath(key);
      expect(DIRECTORY_NAMES.pathToKey(path)).toBe(key);
      for (const name of [...path.folders, path.file]) {
        expect(name).toMatch(/^(?!\.)[a-z0-9_@=,.%-]{1,128}\+{0,2}$/);
      }
      expect(path.file).not.toMatch(/\+$/);
    };
    checkProperty(keys, check, { examples: [...HOSTILE_KEYS, `${'A/'.repeat(511)}AA`] });
  });

  it('that no key has are nobody’s', () => {
    for (const file of ['A', 'a b', '%', '%2', '%4G', '%61', '%2E', '.a', '', '%2f', '%ff', 'a+b', '%c3']) {
      expect(DIRECTORY_NAMES.pathToKey({ folders: [], file }), file).toBeUndefined();
    }
    expect(DIRECTORY_NAMES.pathToKey({ folders: ['x++'], file: 'y' })).toBeUndefined();
    expect(DIRECTORY_NAMES.pathToKey({ folders: ['x'.repeat(129)], file: 'y' })).toBeUndefined();
  });
});

describe('the folder of a store', () => {
  it('is nowhere left, whatever the keys, and nothing outside changes', async () => {
    writeFileSync(join(parent, 'witness'), 'untouched');
    const store = await open();
    for (const key of HOSTILE_KEYS) await store.put(key, [text(key)]);
    expect(readdirSync(parent).sort()).toEqual(['store', 'witness']);
    expect(readdirSync(root).sort()).toEqual(['lock', 'objects', 'partial']);
    expect(readFileSync(join(parent, 'witness'), 'utf8')).toBe('untouched');
  });

  it('is not made unless asked for', async () => {
    expect(await rejectionOf(DirectoryStore.open(root))).toBe('EMISSING');
    expect(existsSync(root)).toBe(false);
    mkdirSync(root);
    expect(await rejectionOf(DirectoryStore.open(root))).toBe('EMISSING');
    expect(readdirSync(root)).toEqual([]);
  });

  it('may be reached by a symbolic link, but none inside it is followed', async () => {
    const outside = join(parent, 'outside');
    mkdirSync(outside);
    mkdirSync(root);
    symlinkSync(root, join(parent, 'link'));
    const store = await open('none', join(parent, 'link'));
    await store.put('x/y', [text('1')]);
    writeFileSync(join(outside, 'secret'), readFileSync(join(root, 'objects/x+/y')));
    symlinkSync(outside, join(root, 'objects/evil+'));
    symlinkSync(join(outside, 'secret'), join(root, 'objects/file'));
    expect(await rejectionOf(store.get('evil/secret'))).toBe('EFORMAT');
    expect(await rejectionOf(store.put('evil/new', [text('2')]))).toBe('EFORMAT');
    expect(await rejectionOf(store.delete('evil/secret'))).toBe('EFORMAT');
    expect(await rejectionOf(store.get('file'))).toBe('EFORMAT');
    expect((await listAll(store)).map(entry => entry.key)).toEqual(['x/y']);
    await store.put('file', [text('replaces the link itself')]);
    expect(readdirSync(outside)).toEqual(['secret']);
    expect(lstatSync(join(root, 'objects/file')).isFile()).toBe(true);
  });

  it('a lock that is a symbolic link is refused, and nothing is made where it points', async () => {
    await open();
    symlinkSync(join(parent, 'made'), join(root, 'lock'));
    const [store] = opened;
    expect(await rejectionOf(store!.put('x', []))).toBe('EFORMAT');
    expect(existsSync(join(parent, 'made'))).toBe(false);
  });

  it('what others put there is no object, and harms no other', async () => {
    const store = await open();
    await store.put('good', [text('1')]);
    const objects = join(root, 'objects');
    writeFileSync(join(objects, 'foreign'), 'x'.repeat(100));
    writeFileSync(join(objects, 'short'), 'x');
    writeFileSync(join(objects, 'not a key'), 'x'.repeat(100));
    writeFileSync(Buffer.concat([Buffer.from(`${objects}/`), Buffer.from([0xff, 0xfe])]), 'x'.repeat(100));
    mkdirSync(join(objects, 'folder'));
    execFileSync('mkfifo', [join(objects, 'pipe')]);
    for (const key of ['foreign', 'short', 'folder', 'pipe']) {
      expect(await rejectionOf(store.get(key)), key).toBe('EFORMAT');
      expect(await rejectionOf(store.stat(key)), key).toBe('EFORMAT');
    }
    expect((await listAll(store)).map(entry => entry.key)).toEqual(['foreign', 'good']);
    await store.put('foreign', [text('now ours')]);
    expect(textOf((await store.get('foreign')).bytes)).toBe('now ours');
    expect(await rejectionOf(store.delete('folder'))).toBe('EFORMAT');
    expect(existsSync(join(objects, 'folder'))).toBe(true);
  });

  it('an object that somebody cut, or let grow, is named damaged, never given in part', async () => {
    const store = await open();
    await store.put('x', [text('0123456789')]);
    const path = join(root, 'objects/x');
    for (const size of [0, 20, 45, 60]) {
      truncateSync(path, size);
      expect(await rejectionOf(store.get('x'))).toBe('EFORMAT');
    }
    await store.delete('x');
    expect(await rejectionOf(store.get('x'))).toBe('EMISSING');
  });

  it('folders that are removed or replaced while a store is open are made and found again', async () => {
    const store = await open('fsync');
    await store.put('f/g/x', [text('1')]);
    rmSync(join(root, 'objects/f+'), { recursive: true });
    expect(await rejectionOf(store.get('f/g/x'))).toBe('EMISSING');
    await store.put('f/g/x', [text('2')]);
    expect(textOf((await store.get('f/g/x')).bytes)).toBe('2');
    expect(existsSync(join(root, 'objects/f+/g+/x'))).toBe(true);
  });

  it('a store that was copied has the same objects and versions', async () => {
    const store = await open();
    const { version } = await store.put('s/x', [text('1')]);
    execFileSync('cp', ['-r', root, join(parent, 'copy')]);
    const copy = await open('none', join(parent, 'copy'));
    expect(await copy.get('s/x')).toMatchObject({ version });
    await copy.removeLeftovers();
    expect(readdirSync(join(parent, 'copy/partial'))).toHaveLength(1);
    await store.put('s/y', [text('goes on')]);
  });

  it('descriptors are bounded, however many calls and folders', async () => {
    const store = await open();
    await Promise.all(Array.from({ length: 500 }, (_, at) => store.put(`d${at}/x`, [text('1')])));
    expect(readdirSync('/proc/self/fd').length).toBeLessThan(250);
    const reads = Promise.all(Array.from({ length: 500 }, (_, at) => store.get(`d${at}/x`)));
    await new Promise(setImmediate);
    expect(readdirSync('/proc/self/fd').length).toBeLessThan(350);
    await reads;
    await store.close();
    const ours = readdirSync('/proc/self/fd').filter(fd => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`).startsWith(root);
      } catch {
        return false;
      }
    });
    expect(ours).toEqual([]);
  });

  it('small puts at once share the syncs of their folder, and are all there', async () => {
    const store = await open('fsync');
    await Promise.all(Array.from({ length: 200 }, (_, at) => store.put(`s/${at}`, [text(`${at}`)])));
    expect(await listAll(store, 50, 's/')).toHaveLength(200);
    await store.close();
    expect(readdirSync(join(root, 'partial'))).toEqual([]);
  });
});

describe.skipIf(process.getuid?.() !== 0)('a disk that does not take more', () => {
  function mounted(size: string, flags = ''): string {
    const path = join(parent, 'disk');
    mkdirSync(path);
    execFileSync('/bin/mount', ['-t', 'tmpfs', '-o', `size=${size}${flags}`, 'tmpfs', path]);
    return path;
  }
  afterEach(async () => {
    for (const store of opened.splice(0)) await store.close();
    execFileSync('/bin/umount', [join(parent, 'disk')]);
  });

  it('full: the put fails as a whole, the old object stays, nothing is left behind', async () => {
    const store = await open('fsync', mounted('1m'));
    await store.put('x', [new Uint8Array(300_000).fill(1)]);
    const before = tree(join(parent, 'disk'));
    expect(await rejectionOf(store.put('x', [new Uint8Array(900_000).fill(2)]))).toBe('EFULL');
    expect(await rejectionOf(store.put('y', [new Uint8Array(900_000).fill(2)]))).toBe('EFULL');
    expect(tree(join(parent, 'disk'))).toEqual(before);
    expect((await store.get('x')).bytes.every(byte => byte === 1)).toBe(true);
    await store.delete('x');
    await store.put('y', [new Uint8Array(900_000).fill(3)]);
  });

  it('read-only: reads go on, changes are denied', async () => {
    const disk = mounted('1m');
    const writer = await open('none', disk);
    await writer.put('x', [text('1')]);
    await writer.close();
    execFileSync('/bin/mount', ['-o', 'remount,ro', disk]);
    const reader = await DirectoryStore.open(disk);
    opened.push(reader);
    expect(textOf((await reader.get('x')).bytes)).toBe('1');
    expect(await listAll(reader)).toHaveLength(1);
    expect(await rejectionOf(reader.put('x', [text('2')]))).toBe('EDENIED');
    expect(await rejectionOf(reader.delete('x'))).toBe('EDENIED');
  });
});

describe('several processes', () => {
  it('of four that create the same keys each key has one winner', async () => {
    const store = await open();
    const writers = ['a', 'b', 'c', 'd'].map(id => ({ id, ...startWriter('create', root, id, 100) }));
    const winnerOf = new Map<string, string>();
    for (const { id, end } of writers) {
      for (const key of await end) {
        expect(winnerOf.has(key)).toBe(false);
        winnerOf.set(key, id);
      }
    }
    expect(winnerOf.size).toBe(100);
    for (const [key, id] of winnerOf) expect(textOf((await store.get(`race/${key}`)).bytes)).toBe(id);
  });

  it('four that count by compare-and-swap lose no update', async () => {
    const store = await open();
    await store.put('counter', [text('0')]);
    const writers = [1, 2, 3, 4].map(id => startWriter('increment', root, id, 75));
    await Promise.all(writers.map(writer => writer.end));
    expect(textOf((await store.get('counter')).bytes)).toBe('300');
  });

  it('what a living process uses is never cleaned away; what a killed one left is', async () => {
    const store = await open();
    await store.put('x', []);
    const own = readdirSync(join(root, 'partial'));
    const holder = startWriter('hold', root, 'h');
    await holder.firstLine;
    const both = readdirSync(join(root, 'partial'));
    expect(both).toHaveLength(2);
    const theirs = both.find(name => !own.includes(name)) ?? '';
    writeFileSync(join(root, 'partial', theirs, '99'), 'half an object');
    await store.removeLeftovers();
    expect(readdirSync(join(root, 'partial')).sort()).toEqual(both.sort());
    expect(existsSync(join(root, 'partial', theirs, '99'))).toBe(true);
    // Another store of this process counts as a living one, too.
    const second = await open();
    await second.removeLeftovers();
    expect(readdirSync(join(root, 'partial'))).toHaveLength(3);
    holder.child.kill('SIGKILL');
    await holder.end;
    await store.removeLeftovers();
    expect(readdirSync(join(root, 'partial'))).toHaveLength(2);
    expect(readdirSync(join(root, 'partial'))).not.toContain(theirs);
  });

  it('sessions that died while they began or ended are cleaned up', async () => {
    const store = await open();
    await store.put('x', []);
    const partial = join(root, 'partial');
    mkdirSync(join(partial, '0'.repeat(32)));
    mkdirSync(join(partial, '1'.repeat(32)));
    writeFileSync(join(partial, '1'.repeat(32), 'new'), '');
    mkdirSync(join(partial, `dead-${'2'.repeat(32)}`));
    writeFileSync(join(partial, `dead-${'2'.repeat(32)}`, '7'), 'left');
    mkdirSync(join(partial, 'not-ours'));
    symlinkSync(parent, join(partial, '3'.repeat(32)));
    await store.removeLeftovers();
    const left = readdirSync(partial).filter(name => !/^(?!(\d)\1{31})[0-9a-f]{32}$/.test(name));
    expect(left.sort()).toEqual(['3'.repeat(32), 'not-ours']);
  });

  it('a process that is stopped again and again, perhaps with the lock in hand, delays others, and no update is lost', async () => {
    const store = await open();
    await store.put('counter', [text('0')]);
    const writers = [1, 2].map(id => startWriter('increment', root, id, 200));
    for (let round = 0; round < 10; round += 1) {
      await sleep(15);
      writers[0]?.child.kill('SIGSTOP');
      await sleep(15);
      writers[0]?.child.kill('SIGCONT');
    }
    await Promise.all(writers.map(writer => writer.end));
    expect(textOf((await store.get('counter')).bytes)).toBe('400');
  });

  it.runIf(IS_LONG)(
    `${3 * KILL_ROUNDS} processes killed at random: objects old or new and whole, acknowledged changes kept`,
    async () => {
      const chance = seededChance(SEED);
      const store = await open('fsync');
      await store.put('counter', [text('0')]);
      let added = 0;
      let kills = 0;
      try {
        for (let round = 0; round < KILL_ROUNDS; round += 1) {
          const ids = [0, 1, 2].map(at => `w${round}-${at}`);
          const writers = ids.map(id => startWriter('crash', root, id));
          await Promise.all(writers.map(writer => writer.firstLine));
          const outputs = await Promise.all(
            writers.map(async writer => {
              await sleep(chance() * 60);
              writer.child.kill('SIGKILL');
              return writer.end;
            }),
          );
          kills += 3;
          for (const [at, output] of outputs.entries()) {
            const id = ids[at] ?? '';
            added += output.filter(line => line === 'counter').length;
            const acknowledged = output.filter(line => line.startsWith('own ')).length;
            const { bytes } = await store.get(`own/${id}`).catch(error => {
              if (isNetsealError(error) && error.code === 'EMISSING') return { bytes: undefined };
              throw error;
            });
            const value = bytes === undefined ? 0 : readValue(id, bytes);
            expect([acknowledged, acknowledged + 1]).toContain(value);
          }
          for (const { key } of await listAll(store, 100, `many/w${round}-`)) {
            readValue(key.split('/')[1] ?? '', (await store.get(key)).bytes);
          }
          const counter = Number(textOf((await store.get('counter')).bytes));
          expect(counter).toBeGreaterThanOrEqual(added);
          expect(counter).toBeLessThanOrEqual(added + kills);
        }
        const left = tree(join(root, 'partial')).length;
        await store.removeLeftovers();
        expect(readdirSync(join(root, 'partial'))).toHaveLength(1);
        expect(left).toBeGreaterThan(tree(join(root, 'partial')).length);
      } catch (error) {
        throw new Error(`with NETSEAL_SEED=${SEED}`, { cause: error });
      }
    },
  );
});
