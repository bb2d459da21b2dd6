/** A directory store that members of a group share, or may only read. As root; other users are child processes. */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { messageOf } from '../../src/base/errors.ts';
import { text } from '../../src/server/contract/support.ts';
import { DirectoryStore } from '../../src/server/directory-store.ts';
import { IS_LONG } from '../support/soak.ts';

const isRoot = process.getuid?.() === 0;
const TEAM = 61_000;
const [ALICE, BOB] = [61_001, 61_002];
const MODULE = new URL('../../src/server/directory-store.ts', import.meta.url).href;

let parent = '';
let root = '';

beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'netseal-rights-'));
  chmodSync(parent, 0o755);
  root = join(parent, 'store');
});

afterEach(() => rmSync(parent, { recursive: true }));

/** Runs `body` with a `store` as another user; returns what it prints. */
function as(uid: number, gid: number, body: string, create = false): string {
  const script = `
    process.umask(0o077);
    process.setgroups([]); process.setgid(${gid}); process.setuid(${uid});
    const { DirectoryStore } = await import(${JSON.stringify(MODULE)});
    const store = await DirectoryStore.open(${JSON.stringify(root)}, { create: ${create}, durability: 'none' });
    const text = value => new TextEncoder().encode(value);
    const failing = async action => {
      try { await action; return 'nothing failed'; } catch (error) { return error.code + ' ' + error.message; }
    };
    ${body}
    await store.close();`;
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
  });
  expect([status, stderr]).toEqual([0, '']);
  return stdout;
}

/** The modes of all files and folders below the store, each once. */
function modesBelow(kind: 'isFile' | 'isDirectory'): string[] {
  const found = readdirSync(root, { recursive: true, encoding: 'utf8' }).map(name =>
    lstatSync(join(root, name)),
  );
  return [...new Set(found.filter(stats => stats[kind]()).map(({ mode }) => (mode & 0o7777).toString(8)))];
}

describe.runIf(isRoot)('a store whose folder a group shares', () => {
  beforeEach(() => {
    mkdirSync(root);
    chownSync(root, 0, TEAM);
    chmodSync(root, 0o2770);
  });

  it.runIf(IS_LONG)('serves every member, whatever the umask of the one who wrote', () => {
    as(ALICE, TEAM, `await store.put('a/b/1', [text('1')]); await store.put('a/2', [text('2')]);`, true);
    expect([modesBelow('isFile'), modesBelow('isDirectory')]).toEqual([['660'], ['2770']]);
    const printed = as(
      BOB,
      TEAM,
      `const { version } = await store.get('a/2');
       await store.put('a/2', [text('3')], { condition: { ifMatch: version } });
       await store.delete('a/b/1');
       await store.put('a/b/4', [text('4')]);
       console.log((await store.list({ limit: 9 })).entries.map(({ key }) => key).join());`,
    );
    expect(printed).toBe('a/2,a/b/4\n');
    const seen = as(ALICE, TEAM, `console.log(new TextDecoder().decode((await store.get('a/2')).bytes));`);
    expect(seen).toBe('3\n');
  });

  it.runIf(IS_LONG)('is cleaned up by any member when another was killed', () => {
    as(ALICE, TEAM, `await store.put('a', [text('1')]);`, true);
    spawnSync(process.execPath, [
      '--input-type=module',
      '-e',
      `process.umask(0o077); process.setgroups([]); process.setgid(${TEAM}); process.setuid(${ALICE});
       const { DirectoryStore } = await import(${JSON.stringify(MODULE)});
       const store = await DirectoryStore.open(${JSON.stringify(root)}, { durability: 'none' });
       await store.put('b', [new Uint8Array(9)]);
       process.kill(process.pid, 'SIGKILL');`,
    ]);
    expect(readdirSync(join(root, 'partial'))).toHaveLength(1);
    as(BOB, TEAM, `await store.removeLeftovers();`);
    expect(readdirSync(join(root, 'partial'))).toEqual([]);
  });
});

it('new files and folders have the permission bits of a private store, too', async () => {
  mkdirSync(root);
  chmodSync(root, 0o700);
  const store = await DirectoryStore.open(root, { create: true, durability: 'none' });
  await store.put('a/b/1', [text('1')]);
  expect([modesBelow('isFile'), modesBelow('isDirectory')]).toEqual([['600'], ['700']]);
  await store.close();
});

describe.runIf(isRoot)('a store that may only be read', () => {
  beforeEach(async () => {
    const store = await DirectoryStore.open(root, { create: true, durability: 'none' });
    await store.put('a/1', [text('1')]);
    await store.close();
  });

  it('serves reads and its clock, without lock and partial folder as well', () => {
    const reads = `
      const { bytes } = await store.get('a/1');
      const { entries } = await store.list({ limit: 9 });
      const offMs = Math.abs((await store.now()) - Date.now());
      console.log(new TextDecoder().decode(bytes), entries.length, (await store.stat('a/1')).sizeBytes, offMs < 60_000);`;
    expect(as(BOB, BOB, reads)).toBe('1 1 1 true\n');
    rmSync(join(root, 'lock'));
    rmSync(join(root, 'partial'), { recursive: true });
    expect(as(BOB, BOB, reads)).toBe('1 1 1 true\n');
    expect(readdirSync(root)).toEqual(['objects']);
  });

  it('denies changes in words about the store, not about descriptors', () => {
    const printed = as(
      BOB,
      BOB,
      `console.log(await failing(store.put('a/2', [text('2')])));
       console.log(await failing(store.delete('a/1')));`,
    );
    expect(printed.trim().split('\n')).toEqual([
      expect.stringMatching(/^EDENIED .*\/store: .*$/),
      expect.stringMatching(/^EDENIED .*\/store: .*$/),
    ]);
    expect(printed).not.toContain('/proc/');
  });
});

it('a lock with bytes in it keeps no reader out, and a writer is told what to do', async () => {
  const store = await DirectoryStore.open(root, { create: true, durability: 'none' });
  await store.put('a', [text('1')]);
  await store.close();
  writeFileSync(join(root, 'lock'), 'some bytes that somebody appended');
  const again = await DirectoryStore.open(root, { durability: 'none' });
  expect(new TextDecoder().decode((await again.get('a')).bytes)).toBe('1');
  expect((await again.list({ limit: 9 })).entries).toHaveLength(1);
  const error = await again.put('b', [text('2')]).catch(error => error);
  expect(error.code).toBe('EFORMAT');
  expect(messageOf(error)).toContain(`: >"${root}/lock"`);
  writeFileSync(join(root, 'lock'), '');
  await again.put('b', [text('2')]);
  await again.close();
});
