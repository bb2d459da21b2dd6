/** Removing an embedded folder with everything in it: one swap of its host. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Volume } from '../../src/volume/volume.ts';
import { deepCheck, TimedVolume } from './gc-support.ts';
import {
  bytesOf,
  codeOf,
  DyingStore,
  FILE,
  FOLDER,
  makeFolder,
  makeObjectFolder,
  namesIn,
  quiet,
  readFile,
  SteppedStore,
  treeOf,
  writeFile,
} from './support.ts';

let timed: TimedVolume;

beforeEach(async () => {
  timed = await TimedVolume.create();
});

afterEach(async () => {
  await timed.test.close();
});

/** Three levels below `/top`; a small file in each folder. Returns how many names there are below the root. */
async function makeTree(volume: Volume, width: number): Promise<number> {
  const { namespace } = volume;
  const top = namespace.newDirectoryAt({ directory: volume.root, name: 'top' }, FOLDER);
  const folders = [top];
  for (let level = 0; level < 2; level += 1) {
    for (const directory of folders.slice(level === 0 ? 0 : 1)) {
      for (let at = 0; at < width; at += 1) {
        folders.push(namespace.newDirectoryAt({ directory, name: `f${level}-${at}` }, FOLDER));
      }
    }
  }
  await Promise.all(
    folders.map(folder =>
      namespace.insertMany(folder, [{ name: 'file', inode: namespace.newFile(FILE), segments: [] }]),
    ),
  );
  return 2 * folders.length;
}

describe('the removal of a tree', () => {
  it('of 1,500 folders of one host is a handful of requests and one swap', async () => {
    const { volume: first } = await timed.client();
    const count = await makeTree(first, 38);
    expect(count).toBeGreaterThan(2 * 1450);
    await writeFile(first, '/stays', bytesOf(1, 100));
    const { volume, meter } = await timed.client({ freshMs: 60_000 });
    const { version } = await volume.root.read(0);
    const before = meter.snapshot();
    expect(await volume.namespace.removeTree(volume.root, 'top')).toBe(count);
    const after = meter.snapshot();
    expect((await volume.root.read(0)).version).toBe(version + 1);
    expect(after.put.requestCount - before.put.requestCount).toBeLessThanOrEqual(2);
    expect(after.get.requestCount - before.get.requestCount).toBeLessThanOrEqual(6);
    expect(await namesIn(first, '/')).toEqual(['stays']);
    await timed.collectAll();
    expect(await deepCheck(first)).toEqual({ damages: [], unreferenced: 0 });
  });

  it('leaves other names of its files, and lowers their link counts', async () => {
    const { volume } = await timed.client();
    for (const path of ['/top', '/top/in', '/other']) await makeFolder(volume, path);
    await writeFile(volume, '/top/in/file', bytesOf(1, 5000));
    await volume.names.link(await volume.place('/top/in/file'), await volume.directory('/other'), 'file');
    expect(await volume.namespace.removeTree(volume.root, 'top')).toBe(3);
    expect(await readFile(volume, '/other/file')).toEqual(bytesOf(1, 5000));
    const { inode } = await volume.find('/other/file');
    expect(inode.type === 'file' && inode.linkCount).toBe(1);
    expect((await deepCheck(volume)).damages).toEqual([]);
  });

  it('is for embedded folders only', async () => {
    const { volume } = await timed.client();
    await makeObjectFolder(volume, '/object');
    await writeFile(volume, '/file', bytesOf(1, 10));
    expect(await volume.namespace.removeTree(volume.root, 'object')).toBeUndefined();
    expect(await volume.namespace.removeTree(volume.root, 'file')).toBeUndefined();
    expect(await codeOf(volume.namespace.removeTree(volume.root, 'none'))).toBe('ENOENT');
    expect(await namesIn(volume, '/')).toEqual(['file', 'object']);
  });

  it('has happened or not when its client stops after any request', async () => {
    for (let requests = 0; ; requests += 1) {
      timed = await TimedVolume.create();
      const dying = new DyingStore(timed.store);
      const { volume: remover } = await timed.client({ around: () => dying.store });
      const { volume: other } = await timed.client();
      const count = await makeTree(other, 3);
      await makeFolder(other, '/top/late');
      const tree = await treeOf(other);
      dying.dieAfter(requests);
      const code = await codeOf(remover.namespace.removeTree(remover.root, 'top'));
      expect(['ok', 'EDENIED']).toContain(code);
      const left = await treeOf(other);
      expect(left.size === 0 ? left : tree).toEqual(left);
      if (code === 'ok') expect([left.size, count]).toEqual([0, 26]);
      if (left.size > 0) await other.namespace.removeTree(other.root, 'top');
      await timed.collectAll();
      expect(await deepCheck(other)).toEqual({ damages: [], unreferenced: 0 });
      const isWhole = code === 'ok' && !dying.isDead;
      await timed.test.close();
      if (isWhole) break;
    }
  });

  it('is one removal when answers are lost, or refused', async () => {
    const { volume: first } = await timed.client();
    const count = await makeTree(first, 3);
    let faults = 3;
    const { volume } = await timed.client({
      faults: ({ operation }) => {
        if (operation !== 'put' || faults === 0) return undefined;
        faults -= 1;
        return { kind: faults === 1 ? 'dropped' : 'lost' };
      },
    });
    expect(await volume.namespace.removeTree(volume.root, 'top')).toBe(count);
    expect(await codeOf(volume.namespace.removeTree(volume.root, 'top'))).toBe('ENOENT');
    expect(await namesIn(first, '/')).toEqual([]);
  });

  it('takes what others put there until then, and what they put there later fails', async () => {
    const { volume: other } = await timed.client();
    await makeTree(other, 2);
    const held = await other.directory('/top/f0-0');
    const stepped = new SteppedStore(timed.store);
    const { volume } = await timed.client({ around: () => stepped.store });
    await volume.root.read(0);
    stepped.hold();
    const removed = volume.namespace.removeTree(volume.root, 'top');
    await quiet();
    while (stepped.waiting[0]?.operation !== 'put') {
      stepped.step();
      await quiet();
    }
    await other.namespace.insert(held, 'in time', other.names.newFile(FILE));
    stepped.open();
    expect(await removed).toBe(15);
    expect(await codeOf(other.namespace.insert(held, 'late', other.names.newFile(FILE)))).toBe('ENOENT');
    expect(await namesIn(other, '/')).toEqual([]);
  });

  it('waits for changes of the same session in the tree', async () => {
    const { volume } = await timed.client();
    await makeTree(volume, 2);
    const inner = await volume.directory('/top/f0-1');
    const changing = inner.apply(draft => draft.update({ mode: 0o700 }));
    expect(await volume.namespace.removeTree(volume.root, 'top')).toBe(14);
    await changing;
    expect(await namesIn(volume, '/')).toEqual([]);
  });
});
