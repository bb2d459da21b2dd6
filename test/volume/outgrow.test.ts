/** Files that become objects of their own: what a client that dies on the way, a gc and a rival leave. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NetsealError } from '../../src/base/errors.ts';
import type { StoreCall } from '../../src/server/forward.ts';
import { keyOfEntry } from '../../src/volume/names/references.ts';
import type { Volume } from '../../src/volume/volume.ts';
import { deepCheck, GRACE_MS, TimedVolume } from './gc-support.ts';
import { aroundStore, bytesOf, type Client, codeOf, readFile, writeFile } from './support.ts';

const CONTENT = bytesOf(7, 20_000);

let timed: TimedVolume;

beforeEach(async () => {
  timed = await TimedVolume.create();
});

afterEach(async () => {
  await timed.test.close();
});

/** Gives `/file` a second name. It becomes an object of its own, unless it is one. */
function link(volume: Volume, name: string): Promise<void> {
  return volume.names.link({ directory: volume.root, name: 'file' }, volume.root, name);
}

/** A client that writes `/file`, and fails between the two steps by which that becomes an object. */
async function failingClient(): Promise<Client> {
  let isFailing = false;
  const client = await timed.client({
    around: inner =>
      aroundStore(inner, async call => {
        const isRootPut = call.operation === 'put' && call.key === `i/${timed.test.rootId}`;
        if (isFailing && isRootPut) throw new NetsealError('EDENIED', 'this client may not commit any more');
        return await call.send();
      }),
  });
  await writeFile(client.volume, '/file', CONTENT);
  isFailing = true;
  expect(await codeOf(link(client.volume, 'second'))).toBe('EDENIED');
  return client;
}

/** The keys of all inode objects but the root's. */
async function inodeKeys(): Promise<string[]> {
  return (await timed.keys('i/')).filter(key => key !== `i/${timed.test.rootId}`);
}

describe('a file that becomes an object of its own', () => {
  it('is not taken by a gc that deletes what an earlier attempt has left', async () => {
    await failingClient();
    const { volume: rival } = await timed.client();
    await timed.collect();
    timed.wait(GRACE_MS);
    const [left = ''] = await inodeKeys();

    // The gc has looked at the volume for the last time when it sends its first delete.
    let outgrown: Promise<void> | undefined;
    const beforeDelete = async <Result>(call: StoreCall<Result>): Promise<Result> => {
      if (call.operation === 'delete' && call.key === left) {
        outgrown = link(rival, 'second');
        await outgrown;
      }
      return await call.send();
    };
    const report = await timed.collect({}, { around: inner => aroundStore(inner, beforeDelete) });
    expect(outgrown).toBeDefined();
    expect(report.deleted.objects).toBe(1);

    const { volume } = await timed.client();
    expect(await readFile(volume, '/file')).toEqual(CONTENT);
    expect(await readFile(volume, '/second')).toEqual(CONTENT);
    expect(await deepCheck(volume)).toEqual({ damages: [], unreferenced: 0 });
  });

  it('is no fork of an earlier attempt that a client has told of and a gc has deleted', async () => {
    const failing = await failingClient();
    expect(await inodeKeys()).toHaveLength(1);
    await failing.volume.close();
    await timed.collectAll();
    expect(await inodeKeys()).toEqual([]);

    const { volume } = await timed.client();
    await link(volume, 'second');
    await volume.close();
    const fresh = await timed.client();
    expect(await readFile(fresh.volume, '/second')).toEqual(CONTENT);
    expect(await codeOf(fresh.volume.close())).toBe('ok');
  });

  it('has a mark only once its folder refers to it', async () => {
    const failing = await failingClient();
    const [left = ''] = await inodeKeys();
    expect(failing.state.marks.get(left.slice(2))).toBeUndefined();

    const { volume, state } = await timed.client();
    await link(volume, 'second');
    const entry = await volume.root.find('file');
    if (entry === undefined) throw new Error('not found');
    expect(state.marks.get(keyOfEntry(entry))?.version).toBe(1);
    expect(keyOfEntry(entry)).not.toBe(left.slice(2));
  });

  it('keeps one of two rival attempts, and the other is garbage', async () => {
    const { volume: one } = await timed.client();
    const { volume: other } = await timed.client();
    await writeFile(one, '/file', CONTENT);
    await Promise.all([link(one, 'one'), link(other, 'other')]);
    for (const name of ['file', 'one', 'other']) expect(await readFile(one, `/${name}`)).toEqual(CONTENT);
    const { inode } = await one.find('/file');
    expect(inode.type === 'file' ? inode.linkCount : 0).toBe(3);
    await timed.collectAll();
    expect(await inodeKeys()).toHaveLength(1);
    expect((await deepCheck(one)).damages).toEqual([]);
  });

  it('does not open under the key of another object', async () => {
    const { volume } = await timed.client();
    await writeFile(volume, '/file', CONTENT);
    await link(volume, 'second');
    await writeFile(volume, '/other', CONTENT);
    await volume.names.link({ directory: volume.root, name: 'other' }, volume.root, 'third');
    const [one = '', two = ''] = await inodeKeys();
    const { bytes } = await timed.store.get(one);
    await timed.store.put(two, [bytes]);
    const { volume: fresh } = await timed.client();
    const codes = await Promise.all(['/second', '/third'].map(path => codeOf(readFile(fresh, path))));
    expect(codes.sort()).toEqual(['EAUTH', 'ok']);
  });
});
