/** New files that are open: their names are in the store from the first commit on, together with their content. */
import { afterEach, expect, it } from 'vitest';
import { systemScheduler } from '../../src/base/scheduler.ts';
import { verifyVolume } from '../../src/volume/care/verify.ts';
import type { Volume } from '../../src/volume/volume.ts';
import { HandClock } from '../netfs/clients.ts';
import { mixedBytes } from '../pipeline/support.ts';
import {
  type Client,
  type ClientOptions,
  DyingStore,
  makeObjectFolder,
  namesIn,
  readFile,
  TestVolume,
} from './support.ts';

const made: TestVolume[] = [];
afterEach(async () => {
  for (const volume of made.splice(0)) await volume.close();
});

/** Nothing is committed because time passes. */
async function start(options: ClientOptions = {}): Promise<{ test: TestVolume; one: Client; other: Client }> {
  const test = await TestVolume.create();
  made.push(test);
  const scheduler = new HandClock();
  return {
    test,
    one: await test.client({ scheduler, ...options }),
    other: await test.client({ scheduler }),
  };
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  return await work.then(
    () => 'ok',
    error => error.code,
  );
}

async function text(volume: Volume, path: string): Promise<string> {
  return (await readFile(volume, path)).toString();
}

it('a new file costs one commit: its name comes with its content', async () => {
  const { one, other } = await start({ freshMs: 1000 });
  await one.volume.fs.writeFile('/known', 'the folder');
  for (const content of ['', 'written', mixedBytes(50_000, 1)]) {
    const before = one.meter.snapshot();
    one.meter.resetRoundTrips();
    const file = await one.volume.open('/f', 'w');
    await file.write(Buffer.from(content));
    expect(await codeOf(other.volume.find('/f'))).toBe('ENOENT');
    await file.close();
    const { put, get } = one.meter.snapshot();
    // The folder as it is now; a segment; the folder's swap.
    expect(get.requestCount - before.get.requestCount).toBe(1);
    expect(put.requestCount - before.put.requestCount).toBeLessThanOrEqual(content.length === 0 ? 1 : 2);
    expect(one.meter.roundTripCount).toBeLessThanOrEqual(3);
    expect((await readFile(other.volume, '/f')).equals(Buffer.from(content))).toBe(true);
    await one.volume.fs.unlink('/f');
  }
});

it('an empty file is made by its close, and with x by its open', async () => {
  const { one, other } = await start();
  const wx = await one.volume.open('/wx', 'wx');
  expect(await namesIn(other.volume, '/')).toEqual(['wx']);
  const a = await one.volume.open('/a', 'a');
  const w = await one.volume.open('/w', 'w');
  expect(await namesIn(other.volume, '/')).toEqual(['wx']);
  await a.close();
  await w.sync();
  expect(await namesIn(other.volume, '/')).toEqual(['a', 'w', 'wx']);
  for (const file of [w, wx]) await file.close();
  expect(await codeOf(one.volume.fs.open('/w', 'wx'))).toBe('EEXIST');
});

it('this session finds and lists it, and all who open it have one file', async () => {
  const { one, other } = await start();
  const { fs } = one.volume;
  await fs.mkdir('/d');
  for (const name of ['b', 'd']) await fs.writeFile(`/d/${name}`, name);
  const opening = ['a', 'c', 'e', 'c'].map(name => one.volume.open(`/d/${name}`, 'a+', 0o600));
  const [a, c, e, again] = await Promise.all(opening);
  expect(await fs.readdir('/d')).toEqual(['a', 'b', 'c', 'd', 'e']);
  expect(await namesIn(other.volume, '/d')).toEqual(['b', 'd']);
  await c?.write('one ');
  await again?.write('two');
  expect(await fs.readFile('/d/c', 'utf8')).toBe('one two');
  expect(await fs.stat('/d/c')).toMatchObject({ size: 7, mode: 0o100600 });
  expect(await again?.stat()).toMatchObject({ size: 7, nlink: 1 });
  expect(await fs.realpath('/d/c')).toBe('/d/c');
  expect(await codeOf(fs.readdir('/d/c'))).toBe('ENOTDIR');
  expect(await codeOf(one.volume.open('/d/c', 'wx'))).toBe('EEXIST');
  const emptied = await one.volume.open('/d/c', 'w');
  await emptied.write('three');
  for (const file of [a, c, e, again, emptied]) await file?.close();
  expect(await text(other.volume, '/d/c')).toBe('three');
  expect(await namesIn(other.volume, '/d')).toEqual(['a', 'b', 'c', 'd', 'e']);
});

it('what takes its name finds it there', async () => {
  const { one, other } = await start();
  const { fs } = one.volume;
  await fs.writeFile('/other', 'other');
  const makers: ((path: string) => Promise<unknown>)[] = [
    path => fs.mkdir(path),
    path => fs.symlink('/other', path),
    path => fs.link('/other', path),
  ];
  for (const [at, make] of makers.entries()) {
    await using file = await one.volume.open(`/f${at}`, 'w');
    await file.write('here');
    expect(await codeOf(make(`/f${at}`))).toBe('EEXIST');
    expect(await text(other.volume, `/f${at}`)).toBe('here');
  }
  const replaced = await one.volume.open('/replaced', 'w+');
  await replaced.write('nameless');
  await fs.rename('/other', '/replaced');
  expect(await text(other.volume, '/replaced')).toBe('other');
  expect(await replaced.readFile('utf8')).toBe('');
  expect((await replaced.stat()).nlink).toBe(0);
  await replaced.close();
});

it('its removal asks nothing of the store', async () => {
  const { one, other } = await start();
  const { fs } = one.volume;
  const file = await one.volume.open('/f', 'w+');
  await file.write('only here');
  const before = one.meter.snapshot();
  await fs.unlink('/f');
  expect(one.meter.snapshot().put).toEqual(before.put);
  expect(await codeOf(fs.stat('/f'))).toBe('ENOENT');
  expect(await codeOf(fs.unlink('/f'))).toBe('ENOENT');
  expect((await file.stat()).nlink).toBe(0);
  await file.write(' and here');
  await file.sync();
  const buffer = Buffer.alloc(18);
  await file.read(buffer, 0, 18, 0);
  expect(buffer.toString()).toBe('only here and here');
  // The name is free.
  await fs.writeFile('/f', 'another');
  await file.close();
  expect(await namesIn(other.volume, '/')).toEqual(['f']);
  expect(await text(other.volume, '/f')).toBe('another');
});

it('it is moved, linked and changed once it is in the store', async () => {
  const { one, other } = await start();
  const { fs } = one.volume;
  await fs.mkdir('/d');
  await using file = await one.volume.open('/tmp', 'w');
  await file.write('one');
  await fs.rename('/tmp', '/d/moved');
  expect(await text(other.volume, '/d/moved')).toBe('one');
  await file.write(' two');
  await file.sync();
  expect(await text(other.volume, '/d/moved')).toBe('one two');
  await using linked = await one.volume.open('/linked', 'w');
  await fs.link('/linked', '/second');
  await linked.write('both');
  await linked.sync();
  expect(await text(other.volume, '/second')).toBe('both');
  for (const change of [() => fs.chmod('/linked', 0o600), () => fs.utimes('/linked', 5, 7)]) await change();
  await using changed = await one.volume.open('/changed', 'w');
  await changed.chmod(0o640);
  await fs.utimes('/changed', 1, 2);
  expect(await other.volume.fs.stat('/changed')).toMatchObject({ mode: 0o100640, mtimeMs: 2000 });
  await using copied = await one.volume.open('/copied', 'w');
  await copied.write('copied');
  await fs.copyFile('/copied', '/copy');
  expect(await text(other.volume, '/copy')).toBe('copied');
});

it('its folder is not empty, whoever made it, and may be moved and removed', async () => {
  for (const isObject of [false, true]) {
    const { one, other } = await start();
    const { fs } = one.volume;
    if (isObject) await makeObjectFolder(one.volume, '/d');
    else await fs.mkdir('/d');
    await fs.mkdir('/empty');
    const file = await one.volume.open('/d/f', 'w');
    await file.write('there');
    expect(await codeOf(fs.rmdir('/d'))).toBe('ENOTEMPTY');
    expect(await codeOf(fs.rename('/empty', '/d'))).toBe('ENOTEMPTY');
    await fs.rename('/d', '/moved');
    expect(await fs.readdir('/moved')).toEqual(['f']);
    await file.sync();
    expect(await text(other.volume, '/moved/f')).toBe('there');
    const next = await one.volume.open('/moved/g', 'w+');
    await next.write('gone');
    await fs.rm('/moved', { recursive: true });
    expect(await fs.readdir('/')).toEqual(['empty']);
    await next.close();
    await file.close();
    expect(await namesIn(other.volume, '/')).toEqual(['empty']);
  }
});

it('who is first has the name: what another client writes goes beside it, and it is told once', async () => {
  const { one, other } = await start();
  const file = await one.volume.open('/f', 'w+');
  await file.write('mine');
  await other.volume.fs.writeFile('/f', 'theirs');
  expect(await codeOf(file.sync())).toBe('ECONFLICT');
  const names = await namesIn(other.volume, '/');
  expect(names).toEqual(['f', expect.stringMatching(/^f\.conflict-/u)]);
  expect(await text(one.volume, '/f')).toBe('theirs');
  const path = `/${names[1]}`;
  expect(await text(other.volume, path)).toBe('mine');
  // The open file goes on as that.
  await file.write(' too');
  await file.close();
  expect(await text(other.volume, path)).toBe('mine too');
  const renamed = await one.volume.open('/g', 'w');
  await renamed.write('mine');
  await other.volume.fs.mkdir('/g');
  expect(await codeOf(one.volume.fs.rename('/g', '/h'))).toBe('ECONFLICT');
  expect(await namesIn(other.volume, '/g')).toEqual([]);
  expect(await codeOf(renamed.close())).toBe('ECONFLICT');
});

it('a file that another client has made just now is found, however fresh the folder seems', async () => {
  const { one, other } = await start({ freshMs: 60_000 });
  await one.volume.fs.readdir('/');
  await other.volume.fs.writeFile('/log', 'first\n');
  await one.volume.fs.appendFile('/log', 'second\n');
  expect(await text(other.volume, '/log')).toBe('first\nsecond\n');
  await other.volume.fs.mkdir('/d');
  expect(await codeOf(one.volume.open('/d', 'w'))).toBe('EISDIR');
});

it('opens and changes of one name at the same time end in one file', async () => {
  const { one, other } = await start();
  const { fs } = one.volume;
  for (let round = 0; round < 8; round += 1) {
    await fs.writeFile('/tmp', 'moved');
    const work = [
      one.volume.open('/f', 'wx').then(file => file.close()),
      one.volume.open('/f', 'a').then(file => file.close()),
      fs.rename('/tmp', '/f'),
      fs.writeFile('/f', 'written'),
    ];
    const codes = await Promise.all([...work.slice(round % 4), ...work.slice(0, round % 4)].map(codeOf));
    expect(codes.filter(code => code !== 'ok' && code !== 'EEXIST')).toEqual([]);
    expect(await namesIn(other.volume, '/')).toEqual(['f']);
    await fs.unlink('/f');
  }
});

it.each(['lost', 'dropped', 'late', 'refused'] as const)(
  'an answer that is %s makes one file',
  async kind => {
    let left = 0;
    const { one, other } = await start({
      scheduler: systemScheduler,
      retry: { pauseMs: 1, pauseMsMax: 2 },
      faults: ({ operation }) => {
        if (operation !== 'put' || left === 0) return undefined;
        left -= 1;
        return { kind, delayMs: 1 };
      },
    });
    for (let round = 0; round < 4; round += 1) {
      const file = await one.volume.open(`/f${round}`, 'w');
      await file.write(mixedBytes(300, round));
      left = round;
      while ((await codeOf(file.sync())) === 'EUNCERTAIN') left = 0;
      left = 0;
      await file.close();
      expect((await readFile(other.volume, `/f${round}`)).equals(mixedBytes(300, round))).toBe(true);
    }
    expect(await namesIn(other.volume, '/')).toEqual(['f0', 'f1', 'f2', 'f3']);
    expect((await verifyVolume(other.volume)).damages).toEqual([]);
  },
);

it('it stays when it cannot be committed, and is gone when that is given up', async () => {
  const test = await TestVolume.create();
  made.push(test);
  const dying = new DyingStore(test.store);
  const { volume } = await test.client({ around: () => dying.store, scheduler: new HandClock() });
  const other = await test.client();
  const file = await volume.open('/f', 'w');
  await file.write('kept');
  dying.dieAfter(0);
  expect(await codeOf(file.close())).toBe('EACCES');
  dying.dieAfter(Number.POSITIVE_INFINITY);
  expect(await volume.fs.readFile('/f', 'utf8')).toBe('kept');
  const again = await volume.open('/f', 'a');
  await again.write(' and more');
  await again.close();
  expect(await text(other.volume, '/f')).toBe('kept and more');
  const given = await volume.open('/given', 'w+');
  await given.write('up');
  await given.discard();
  expect(await given.readFile('utf8')).toBe('');
  await given.close();
  expect(await codeOf(volume.fs.stat('/given'))).toBe('ENOENT');
  expect(await namesIn(other.volume, '/')).toEqual(['f']);
  const removed = await volume.open('/d', 'w').catch(error => error);
  await removed.write('left');
  await removed.leave();
  expect(await codeOf(other.volume.find('/d'))).toBe('ENOENT');
  await volume.sync();
  expect(await text(other.volume, '/d')).toBe('left');
});
