/** Copies that are repeated: what is there stays, what was changed follows, what cannot be is told. */
import * as fs from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { KIB, MIB } from '../../src/base/geometry.ts';
import { IS_LONG } from '../support/soak.ts';
import { bytesOf, type Client, TestVolume } from '../volume/support.ts';
import { comparable, dress, failuresOf, getTree, lookAtTree, putTree } from './copy-support.ts';
import { makeFolder, removeFolder } from './local-support.ts';

let folder = '';
let volume: TestVolume;
let client: Client;

beforeEach(async () => {
  folder = makeFolder();
  volume = await TestVolume.create({ unitSizeBytes: 64 * KIB });
  client = await volume.client();
});

afterEach(async () => {
  await volume.close();
  removeFolder(folder);
});

function makeTree(path: string, { folders = 5, files = 40 } = {}): void {
  fs.mkdirSync(path);
  for (let at = 0; at < folders; at += 1) {
    fs.mkdirSync(join(path, `folder-${at}`));
    for (let file = 0; file < files; file += 1) {
      fs.writeFileSync(join(path, `folder-${at}`, `file-${file}`), bytesOf(at * files + file, 1000 + file));
    }
  }
  fs.writeFileSync(join(path, 'large'), bytesOf(7, 2 * MIB + 5));
  fs.symlinkSync('large', join(path, 'link'));
  fs.linkSync(join(path, 'large'), join(path, 'large too'));
}

/** Requests and bytes that `work` sends. */
async function cost(by: Client, work: () => Promise<unknown>): Promise<{ puts: number; sentBytes: number }> {
  const before = by.meter.snapshot().put;
  await work();
  const after = by.meter.snapshot().put;
  return {
    puts: after.requestCount - before.requestCount,
    sentBytes: after.sentBytes - before.sentBytes,
  };
}

const from = (): string => join(folder, 'from');
const to = (): string => join(folder, 'to');

describe('a copy that is repeated', () => {
  it('sends nothing for what is unchanged', async () => {
    makeTree(from());
    await putTree(client.volume, from(), '/t');
    const other = await volume.client();
    let unchanged = 0;
    const sent = await cost(other, async () => {
      unchanged = (await putTree(other.volume, from(), '/t')).counts.unchanged;
      await other.volume.sync();
    });
    expect(sent).toEqual({ puts: 0, sentBytes: 0 });
    // The names of the large file count once.
    expect(unchanged).toBe(5 * 40 + 2);
  });

  it('sends what was changed, and no more', async () => {
    makeTree(from());
    await putTree(client.volume, from(), '/t');
    fs.writeFileSync(join(from(), 'folder-1', 'file-3'), 'changed');
    fs.writeFileSync(join(from(), 'folder-4', 'new'), 'new');
    const other = await volume.client();
    const sent = await cost(other, async () => {
      const { counts } = await putTree(other.volume, from(), '/t');
      expect(counts.files).toBe(2);
      await other.volume.sync();
    });
    expect(sent.sentBytes).toBeLessThan(64 * KIB);
    await getTree(other.volume, '/t', to());
    expect(comparable(lookAtTree(to()))).toEqual(comparable(lookAtTree(from())));
  });

  it('updates attributes without sending content, many in few commits', async () => {
    makeTree(from());
    await putTree(client.volume, from(), '/t');
    await getTree(client.volume, '/t', to());
    for (const name of fs.readdirSync(join(from(), 'folder-2'))) {
      const path = join(from(), 'folder-2', name);
      const { mtimeNs } = fs.statSync(path, { bigint: true });
      dress(path, { mode: 0o600, mtimeNs, xattrs: new Map([['note', name]]) });
    }
    fs.chmodSync(join(from(), 'large'), 0o444);
    fs.chmodSync(join(from(), 'folder-3'), 0o700);
    const other = await volume.client();
    const sent = await cost(other, async () => {
      const { counts } = await putTree(other.volume, from(), '/t');
      expect({ files: counts.files, bytes: counts.bytes }).toEqual({ files: 0, bytes: 0 });
      await other.volume.sync();
    });
    expect(sent.puts).toBeLessThan(20);
    expect(sent.sentBytes).toBeLessThan(256 * KIB);
    // What was written before gets them as well, without being written again.
    const inode = fs.statSync(join(to(), 'folder-2', 'file-1')).ino;
    const { counts } = await getTree(other.volume, '/t', to());
    expect(counts.bytes).toBe(2 * MIB + 5);
    expect(fs.statSync(join(to(), 'folder-2', 'file-1')).ino).toBe(inode);
    expect(comparable(lookAtTree(to()))).toEqual(comparable(lookAtTree(from())));
  });

  it('puts right which names belong to one file', async () => {
    fs.mkdirSync(from());
    const at = (name: string): string => join(from(), name);
    for (const name of ['a', 'b', 'c']) fs.writeFileSync(at(name), 'same');
    for (const name of ['a', 'b', 'c']) fs.utimesSync(at(name), 5, 5);
    await putTree(client.volume, from(), '/t');
    fs.rmSync(at('c'));
    fs.linkSync(at('a'), at('c'));
    fs.utimesSync(from(), 7, 7);
    expect(failuresOf(await putTree(client.volume, from(), '/t'))).toEqual([]);
    await getTree(client.volume, '/t', to());
    expect(comparable(lookAtTree(to()))).toEqual(comparable(lookAtTree(from())));
    // And apart again.
    fs.rmSync(at('c'));
    fs.writeFileSync(at('c'), 'other');
    fs.utimesSync(from(), 7, 7);
    expect(failuresOf(await putTree(client.volume, from(), '/t'))).toEqual([]);
    fs.rmSync(to(), { recursive: true });
    await getTree(client.volume, '/t', to());
    expect(comparable(lookAtTree(to()))).toEqual(comparable(lookAtTree(from())));
  });

  it('tells of files that became folders and folders that became files, and goes on', async () => {
    makeTree(from(), { folders: 3, files: 2 });
    await putTree(client.volume, from(), '/t');
    await getTree(client.volume, '/t', to());
    fs.rmSync(join(from(), 'folder-0'), { recursive: true });
    fs.writeFileSync(join(from(), 'folder-0'), 'now a file');
    fs.rmSync(join(from(), 'folder-1', 'file-0'));
    fs.mkdirSync(join(from(), 'folder-1', 'file-0'));
    fs.writeFileSync(join(from(), 'folder-2', 'file-0'), 'changed');
    const tally = await putTree(client.volume, from(), '/t');
    expect(failuresOf(tally)).toEqual([`${from()}/folder-0: EISDIR`, `${from()}/folder-1/file-0: ENOTDIR`]);
    expect(tally.counts.files).toBe(1);
    // The other way round.
    await client.volume.names.unlink(await client.volume.directory('/t/folder-2'), 'file-1');
    await putTree(client.volume, join(from(), 'folder-1', 'file-0'), '/t/folder-2/file-1');
    fs.rmSync(join(to(), 'folder-1', 'file-1'));
    fs.mkdirSync(join(to(), 'folder-1', 'file-1'));
    const back = await getTree(client.volume, '/t', to());
    expect(failuresOf(back)).toEqual(['/t/folder-1/file-1: EISDIR', '/t/folder-2/file-1: ENOTDIR']);
    expect(fs.readFileSync(join(to(), 'folder-2', 'file-0'), 'utf8')).toBe('changed');
  });

  it('writes nothing the second time it gets', async () => {
    makeTree(from());
    await putTree(client.volume, from(), '/t');
    await getTree(client.volume, '/t', to());
    const inodes = (): string[] =>
      fs.readdirSync(to(), { recursive: true, encoding: 'utf8' }).map(name => {
        const { ino } = fs.lstatSync(join(to(), name), { bigint: true });
        return `${name} ${ino}`;
      });
    const before = inodes();
    const other = await volume.client();
    const { counts } = await getTree(other.volume, '/t', to());
    expect(counts).toMatchObject({ files: 0, symlinks: 0, links: 0, bytes: 0 });
    expect(inodes()).toEqual(before);
    expect(comparable(lookAtTree(to()))).toEqual(comparable(lookAtTree(from())));
  });

  it.runIf(IS_LONG)('takes many names of one folder, and deep folders', async () => {
    fs.mkdirSync(from());
    for (let at = 0; at < 3000; at += 1) fs.writeFileSync(join(from(), `${at}`), `${at}`);
    let deep = from();
    for (let depth = 0; depth < 120; depth += 1) {
      deep = join(deep, 'd');
      fs.mkdirSync(deep);
    }
    fs.writeFileSync(join(deep, 'bottom'), 'bottom');
    expect(failuresOf(await putTree(client.volume, from(), '/t'))).toEqual([]);
    expect(failuresOf(await getTree(client.volume, '/t', to()))).toEqual([]);
    expect(comparable(lookAtTree(to()))).toEqual(comparable(lookAtTree(from())));
  });
});
