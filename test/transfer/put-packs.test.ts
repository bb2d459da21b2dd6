/** `put` packs small files, and `get` opens each pack once. */
import * as fs from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { KIB } from '../../src/base/geometry.ts';
import type { FileInode } from '../../src/server/sealed/inode.ts';
import { readSegmentFooter } from '../../src/server/sealed/segment-footer.ts';
import type { SegmentEntry } from '../../src/server/sealed/segment-format.ts';
import { aroundStore, bytesOf, type Client, DyingStore, TestVolume, treeOf } from '../volume/support.ts';
import { comparable, getTree, lookAtTree, putTree } from './copy-support.ts';
import { makeFolder, removeFolder } from './local-support.ts';

let folder = '';
let test: TestVolume;
let client: Client;

const at = (...names: string[]): string => join(folder, ...names);

beforeEach(async () => {
  folder = makeFolder();
  fs.mkdirSync(at('from'));
  test = await TestVolume.create({ unitSizeBytes: 256 * KIB });
  client = await test.client();
});

afterEach(async () => {
  await test.close();
  removeFolder(folder);
});

/** 30 folders of 10 files with some 2 KiB each. */
function makeTree(): void {
  for (let outer = 0; outer < 30; outer += 1) {
    fs.mkdirSync(at('from', `d${outer}`));
    for (let inner = 0; inner < 10; inner += 1) {
      const bytes = bytesOf(outer * 10 + inner, 1500 + 100 * inner);
      fs.writeFileSync(at('from', `d${outer}`, `f${inner}`), bytes);
    }
  }
}

/** All records in segments. */
async function recordsOf(): Promise<SegmentEntry[]> {
  const records: SegmentEntry[] = [];
  for (const { key, sizeBytes } of (await test.store.list({ prefix: 's/', limit: 1000 })).entries) {
    records.push(...(await readSegmentFooter(client.volume.session.sealing, key.slice(2), sizeBytes)));
  }
  return records;
}

describe('a tree of small files', () => {
  it('goes into a few packs, across folders, and comes out with each pack opened once', async () => {
    makeTree();
    await putTree(client.volume, at('from'), '/t');
    await client.volume.sync();
    const records = await recordsOf();
    const plainBytes = 30 * (10 * 1500 + 4500);
    const packs = records.filter(({ kind }) => kind === 'pack');
    expect(records.filter(({ kind }) => kind === 'unit').length).toBeLessThanOrEqual(1);
    expect(packs.length).toBeLessThanOrEqual(Math.ceil(plainBytes / (124 * KIB)) + 1);
    const opened: number[] = [];
    const fresh = await test.client({
      around: inner =>
        aroundStore(inner, async call => {
          const result = await call.send();
          if (call.operation === 'get' && call.key.startsWith('s/')) {
            opened.push((result as { bytes: Uint8Array }).bytes.byteLength);
          }
          return result;
        }),
    });
    await getTree(fresh.volume, '/t', at('to'));
    expect(comparable(lookAtTree(at('to')))).toEqual(comparable(lookAtTree(at('from'))));
    const sealedBytes = records.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0);
    // No byte was fetched twice.
    expect(opened.reduce((sum, bytes) => sum + bytes, 0)).toBeLessThanOrEqual(sealedBytes);
  });

  it('may be got in part, in any order', async () => {
    makeTree();
    await putTree(client.volume, at('from'), '/t');
    fs.mkdirSync(at('to'));
    for (const path of ['d29/f9', 'd0/f0', 'd15/f5', 'd15/f6']) {
      await getTree(client.volume, `/t/${path}`, at('to', path.replace('/', '-')));
      expect(fs.readFileSync(at('to', path.replace('/', '-')))).toEqual(fs.readFileSync(at('from', path)));
    }
  });

  it('is stored file by file in a volume without packs', async () => {
    makeTree();
    const plain = await TestVolume.create({ unitSizeBytes: 256 * KIB, packBytes: 0 });
    const { volume } = await plain.client();
    await putTree(volume, at('from'), '/t');

    const { inode } = await volume.find('/t/d3/f3');
    expect((inode as FileInode).map.slots[0]?.pointer.slice).toBeUndefined();
    await plain.close();
  });
});

describe('put', () => {
  it('that dies between any two requests leaves whole files only, and put again completes them', async () => {
    fs.mkdirSync(at('from', 'sub'));
    for (let file = 0; file < 15; file += 1) {
      fs.writeFileSync(at('from', file < 5 ? `sub/f${file}` : `f${file}`), bytesOf(file, 900));
    }
    const requests = await dieInPut(Number.POSITIVE_INFINITY);
    expect(requests).toBeGreaterThan(3);
    for (let left = 1; left < requests; left += 1) await dieInPut(left);
  });

  /** Puts by a client that dies after so many requests, then by another one. Returns how many the first sent. */
  async function dieInPut(requests: number): Promise<number> {
    const volume = await TestVolume.create({ unitSizeBytes: 256 * KIB });
    const dying = new DyingStore(volume.store);
    const { volume: first } = await volume.client({ around: () => dying.store });
    dying.dieAfter(requests);
    await putTree(first, at('from'), '/t').catch(() => undefined);
    await first.sync().catch(() => undefined);
    const { volume: second } = await volume.client();
    const found = await treeOf(second);
    if (!dying.isDead) expect(found.size).toBe(17);
    for (const [path, content] of found) {
      if (path.endsWith('/')) continue;
      const local = fs.readFileSync(at('from', path.replace('/t/', '')), 'latin1');
      expect(content === local, `${path} after ${requests} requests`).toBe(true);
    }
    await putTree(second, at('from'), '/t');
    expect((await treeOf(second)).size).toBe(17);
    await volume.close();
    return dying.sentCount;
  }

  it('makes holes of files of zeros, and packs neither them nor empty ones', async () => {
    fs.writeFileSync(at('from', 'empty'), '');
    fs.writeFileSync(at('from', 'zeros'), Buffer.alloc(5000));
    fs.writeFileSync(at('from', 'a'), 'a');
    fs.writeFileSync(at('from', 'b'), 'b');
    await putTree(client.volume, at('from'), '/t');
    const inodes = await Promise.all(
      ['empty', 'zeros', 'a', 'b'].map(
        async name => (await client.volume.find(`/t/${name}`)).inode as FileInode,
      ),
    );
    expect(inodes.map(({ sizeBytes, map }) => [sizeBytes, map.slots[0]?.pointer.slice?.packBytes])).toEqual([
      [0, undefined],
      [5000, undefined],
      [1, 2],
      [1, 2],
    ]);
    await getTree(client.volume, '/t', at('to'));
    expect(comparable(lookAtTree(at('to')))).toEqual(comparable(lookAtTree(at('from'))));
  });

  it('packs files with units of their own between them', async () => {
    const lengths = [100, 70 * KIB, 300, 64 * KIB, 64 * KIB + 1, 5];
    for (const [index, lengthBytes] of lengths.entries()) {
      fs.writeFileSync(at('from', `f${index}`), bytesOf(index, lengthBytes));
    }
    await putTree(client.volume, at('from'), '/t');
    const slices = await Promise.all(
      lengths.map(async (_, index) => {
        const { inode } = await client.volume.find(`/t/f${index}`);
        return (inode as FileInode).map.slots[0]?.pointer.slice?.packBytes;
      }),
    );
    const packBytes = 100 + 300 + 64 * KIB + 5;
    expect(slices).toEqual([packBytes, undefined, packBytes, packBytes, undefined, packBytes]);
    await getTree(client.volume, '/t', at('to'));
    expect(comparable(lookAtTree(at('to')))).toEqual(comparable(lookAtTree(at('from'))));
  });
});
