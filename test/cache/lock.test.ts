/**
 * One process owns a cache. A second one is told so. The lock is released by closing the cache or by death,
 * and by nothing else.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, it } from 'vitest';
import { CRASH_SETTINGS } from './fixtures/crash-plan.ts';
import { collect, getUnit, idOf, newFolder, openTestCache, unitOf } from './support.ts';

const HOLDER = fileURLToPath(new URL('fixtures/lock-holder.ts', import.meta.url));
const THREAD = new URL('fixtures/lock-thread.ts', import.meta.url);

const children = new Set<ChildProcess>();

afterEach(() => {
  for (const child of children) child.kill('SIGKILL');
  children.clear();
});

/** Starts another process. Returns it with its first report. */
async function hold(folder: string, atMs = 0): Promise<{ child: ChildProcess; said: string }> {
  const child = spawn(process.execPath, [HOLDER, folder, String(atMs)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.add(child);
  const [said] = (await once(createInterface(child.stdout), 'line')) as [string];
  return { child, said };
}

async function kill(child: ChildProcess): Promise<void> {
  const closed = once(child, 'close');
  child.kill('SIGKILL');
  await closed;
}

const open = (folder: string) => openTestCache(folder, CRASH_SETTINGS);

/** Tries to open the cache on another thread of this process. */
async function openOnThread(folder: string): Promise<string> {
  const worker = new Worker(THREAD, { workerData: folder });
  const [said] = (await once(worker, 'message')) as [string];
  await worker.terminate();
  return said;
}

describe('the owner of a cache', () => {
  it('is named to another process: pid, host, start; its death lets go', async () => {
    const folder = newFolder();
    const { child, said } = await hold(folder);
    expect(said).toMatch(/^has /);
    const refused = open(folder);
    await expect(refused).rejects.toMatchObject({ code: 'EDENIED' });
    await expect(refused).rejects.toThrow(`process ${child.pid} on ${hostname()}, running since 20`);
    // The refused attempt has not released the owner's lock.
    await expect(open(folder)).rejects.toMatchObject({ code: 'EDENIED' });
    await kill(child);
    const cache = await open(folder);
    expect(said).toBe(`has ${Buffer.from(cache.id).toString('hex')}`);
    const { said: second } = await hold(folder);
    expect(second).toContain(`process ${process.pid} on`);
  });

  it('is this process, for another open in it: by another path, or on another thread', async () => {
    const folder = newFolder();
    const cache = await open(folder);
    await expect(open(folder)).rejects.toThrow(`process ${process.pid}`);
    const link = `${newFolder()}/link`;
    symlinkSync(folder, link);
    await expect(open(link)).rejects.toMatchObject({ code: 'EDENIED' });
    expect(await openOnThread(folder)).toContain(`in use by process ${process.pid}`);
    // None of those has let go of the lock, as closing a file does with a process's POSIX locks.
    expect((await hold(folder)).said).toContain('EDENIED');
    await cache.close();
    expect(await openOnThread(folder)).toBe('opened');
  });

  it('keeps it when the database is opened and closed by others in its process', async () => {
    const folder = newFolder();
    await open(folder);
    closeSync(openSync(`${folder}/cache.db`, 'r'));
    closeSync(openSync(`${folder}/owner`, 'r'));
    expect((await hold(folder)).said).toContain('EDENIED');
  });

  it('is one of those that make a new cache at the same time, and there is one cache', async () => {
    for (let round = 0; round < 2; round += 1) {
      const folder = `${newFolder()}/new`;
      const atMs = Date.now() + 700;
      const holders = await Promise.all([hold(folder, atMs), hold(folder, atMs), hold(folder, atMs)]);
      const owners = holders.filter(({ said }) => said.startsWith('has '));
      expect(owners, holders.map(({ said }) => said).join('; ')).toHaveLength(1);
      for (const { said } of holders) expect(said).toMatch(/^(has|EDENIED) /);
      for (const { child } of owners) await kill(child);
      const cache = await open(folder);
      expect(owners[0]?.said).toBe(`has ${Buffer.from(cache.id).toString('hex')}`);
      await cache.close();
    }
  });

  it('is found out whatever the files lock and owner have in them', async () => {
    const folder = newFolder();
    for (const content of ['', 'garbage', 'x'.repeat(100_000), 'SQLite format 3\0'.repeat(300)]) {
      writeFileSync(`${folder}/lock`, content);
      writeFileSync(`${folder}/owner`, content);
      const { child, said } = await hold(folder);
      expect(said).toMatch(/^has /);
      writeFileSync(`${folder}/owner`, content);
      await expect(open(folder)).rejects.toThrow('in use by another process');
      await kill(child);
    }
    const target = `${newFolder()}/target`;
    rmSync(`${folder}/owner`);
    symlinkSync(target, `${folder}/owner`);
    await open(folder);
    expect(() => readFileSync(target)).toThrow('ENOENT');
  });
});

describe('a cache whose folder is taken away', () => {
  it('does not touch what another process makes in its place, and comes back when that is gone', async () => {
    const folder = `${newFolder()}/cache`;
    const clock = { nowMs: 1e12 };
    const cache = await openTestCache(folder, CRASH_SETTINGS, { nowMs: () => clock.nowMs });
    const volume = cache.volume(idOf(1));
    const put = (index: number) => volume.put([{ objectId: idOf(2), index, bytes: unitOf(index) }]);
    volume.setCoherency(idOf(2), Buffer.from('state'));
    await put(0);
    rmSync(folder, { recursive: true });
    const { child, said } = await hold(folder);
    expect(said).toMatch(/^has /);
    await cache.maintain();
    expect(cache.statistics.state).toBe('away');
    const dirty = { units: [{ volumeId: idOf(1), objectId: idOf(2), index: 9, bytes: unitOf(9) }] };
    for (let step = 0; step < 20; step += 1) {
      clock.nowMs += 61_000;
      await cache.maintain();
      expect(await put(1 + step)).toBe(0);
    }
    expect(cache.statistics.state).toBe('away');
    expect(cache.statistics.problems.denied).toBeGreaterThan(0);
    await kill(child);
    clock.nowMs += 61_000;
    rmSync(folder, { recursive: true });
    mkdirSync(folder);
    await cache.maintain();
    expect(cache.statistics.state).toBe('ready');
    expect(await put(50)).toBe(1);
    const id = await cache.appendDirty(dirty);
    // It is the owner again.
    expect((await hold(folder)).said).toContain(`EDENIED`);
    await cache.close();
    const again = await open(folder);
    expect(again.id).toEqual(cache.id);
    expect(await getUnit(again, idOf(1), idOf(2), 50, unitOf(50))).toBe('hit');
    expect(await getUnit(again, idOf(1), idOf(2), 9, unitOf(9))).toBe('hit');
    expect(again.volume(idOf(1)).coherency(idOf(2))).toEqual(new Uint8Array(Buffer.from('state')));
    expect(await again.appendDirty(dirty)).toBeGreaterThan(id);
  });

  it('acknowledges nothing that would go into files that were removed', async () => {
    const folder = `${newFolder()}/cache`;
    const clock = { nowMs: 1e12 };
    const cache = await openTestCache(folder, CRASH_SETTINGS, { nowMs: () => clock.nowMs });
    const append = (index: number) =>
      cache.appendDirty({
        units: [{ volumeId: idOf(1), objectId: idOf(2), index, bytes: unitOf(index, 500) }],
        payload: Buffer.from(`${index}`),
      });
    await append(1);
    rmSync(folder, { recursive: true });
    for (let index = 2; index < 5; index += 1) {
      await expect(append(index)).rejects.toMatchObject({ code: 'EIO' });
    }
    await cache.maintain();
    clock.nowMs += 61_000;
    await cache.maintain();
    expect(cache.statistics.state).toBe('ready');
    await append(6);
    await cache.close();
    const again = await open(folder);
    const payloads = (await collect(again.listDirty())).map(({ payload }) => Buffer.from(payload).toString());
    expect(payloads).toEqual(['6']);
  });
});
