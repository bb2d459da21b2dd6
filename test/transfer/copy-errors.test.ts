/** Copies for which something goes wrong: here, in the store, or with whoever has had enough. */
import * as fs from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ErrorCode, NetsealError } from '../../src/base/errors.ts';
import { KIB, MIB } from '../../src/base/geometry.ts';
import type { StoreCall } from '../../src/server/forward.ts';
import type { Inode } from '../../src/server/sealed/inode.ts';
import { segmentKey } from '../../src/server/sealed/object-keys.ts';
import { put } from '../../src/transfer/put.ts';
import { Tally } from '../../src/transfer/tally.ts';
import { IS_LONG } from '../support/soak.ts';
import { aroundStore, bytesOf, codeOf, TestVolume } from '../volume/support.ts';
import { comparable, failuresOf, getTree, lookAtTree, openDescriptors, putTree } from './copy-support.ts';
import { CAN_MOUNT, makeFolder, mountSmall, removeFolder, unmount } from './local-support.ts';

let folder = '';
let volume: TestVolume;

beforeEach(async () => {
  folder = makeFolder();
  volume = await TestVolume.create({ unitSizeBytes: 64 * KIB });
});

afterEach(async () => {
  await volume.close();
  removeFolder(folder);
});

const from = (): string => join(folder, 'from');
const to = (): string => join(folder, 'to');

function makeTree({ small = 300, large = 2 } = {}): void {
  fs.mkdirSync(join(from(), 'a', 'b'), { recursive: true });
  for (let at = 0; at < small; at += 1) {
    fs.writeFileSync(join(from(), 'a', at % 2 === 0 ? 'b' : '', `small-${at}`), bytesOf(at, 3000));
  }
  for (let at = 0; at < large; at += 1) {
    fs.writeFileSync(join(from(), `large-${at}`), Buffer.alloc(9 * MIB, bytesOf(at, 80 * KIB)));
    fs.linkSync(join(from(), `large-${at}`), join(from(), 'a', `linked-${at}`));
  }
}

/** A client whose store fails with `code` from the `failFrom`th such request on. */
async function failingClient(
  code: ErrorCode,
  operation: StoreCall<unknown>['operation'],
  failFrom: number,
): Promise<Awaited<ReturnType<TestVolume['client']>>> {
  let count = 0;
  return await volume.client({
    around: store =>
      aroundStore(store, async call => {
        if (call.operation === operation) count += 1;
        if (call.operation === operation && count >= failFrom) throw new NetsealError(code, 'out of order');
        return await call.send();
      }),
  });
}

describe('a put into a store that fails', () => {
  it.runIf(IS_LONG).each(['EFULL', 'EIO'] as const)(
    'ends with %s wherever it begins, keeps what was done, and a repetition completes',
    async code => {
      makeTree();
      const before = openDescriptors();
      let failures = 0;
      for (let failFrom = 1; failFrom < 40; failFrom += failFrom < 4 ? 1 : 9) {
        const { volume: mounted } = await failingClient(code, 'put', failFrom);
        const tally = new Tally();
        const ended = await codeOf(put(mounted, [from()], `/t-${failFrom}`, tally, { recursive: true }));
        if (ended !== 'ok') failures += 1;
        expect(['ok', code]).toContain(ended);
        // The tally counts files that failed. Here the store failed.
        expect(failuresOf(tally)).toEqual([]);
        expect(openDescriptors()).toEqual(before);
        const { volume: other } = await volume.client();
        expect(failuresOf(await putTree(other, from(), `/t-${failFrom}`))).toEqual([]);
        const target = join(folder, `to-${failFrom}`);
        expect(failuresOf(await getTree(other, `/t-${failFrom}`, target))).toEqual([]);
        expect(comparable(lookAtTree(target))).toEqual(comparable(lookAtTree(from())));
        fs.rmSync(target, { recursive: true });
      }
      expect(failures).toBeGreaterThan(2);
    },
    120_000,
  );

  it('does not read a large file to its end first', async () => {
    fs.mkdirSync(from());
    fs.writeFileSync(join(from(), 'large'), Buffer.alloc(128 * MIB, bytesOf(1, 256 * KIB)));
    const { volume: mounted } = await failingClient('EFULL', 'put', 1);
    let seenBytes = 0;
    const tally = new Tally({
      onProgress: ({ bytes }) => {
        seenBytes = bytes;
      },
    });
    expect(await codeOf(put(mounted, [join(from(), 'large')], '/large', tally))).toBe('EFULL');
    expect(seenBytes).toBeLessThan(96 * MIB);
  });
});

describe('a get from a store that fails', () => {
  it.each(['EUNAVAILABLE', 'EDENIED'] as const)('ends with %s, and a repetition completes', async code => {
    makeTree();
    const { volume: whole } = await volume.client();
    await putTree(whole, from(), '/t');
    const before = openDescriptors();
    let failures = 0;
    for (const failFrom of [1, 2, 3, 5, 8, 12, 20]) {
      const { volume: mounted } = await failingClient(code, 'get', failFrom);
      const ended = await codeOf(getTree(mounted, '/t', to()));
      expect(['ok', code]).toContain(ended);
      if (ended !== 'ok') failures += 1;
      expect(openDescriptors()).toEqual(before);
      // Every file that is there is whole.
      const original = lookAtTree(from());
      for (const [path, { type, content }] of fs.existsSync(to()) ? lookAtTree(to()) : []) {
        expect(original.get(path)).toMatchObject({ type, content });
      }
    }
    expect(failures).toBeGreaterThan(2);
    const { volume: other } = await volume.client();
    expect(failuresOf(await getTree(other, '/t', to()))).toEqual([]);
    expect(comparable(lookAtTree(to()))).toEqual(comparable(lookAtTree(from())));
  });
});

describe('an interruption', () => {
  it.each([0, 1, 5, 20, 60, 200])('ends put and get after %d ms, and leaves nothing open', async delayMs => {
    makeTree({ small: 800, large: 2 });
    const { volume: mounted, meter } = await volume.client();
    const before = openDescriptors();
    const signal = AbortSignal.timeout(delayMs);
    const work = putTree(mounted, from(), '/t', { signal }).then(
      () => 'ok',
      error => (error === signal.reason ? 'aborted' : `${error}`),
    );
    expect(['ok', 'aborted']).toContain(await Promise.race([work, pause(60_000, 'hangs')]));
    expect(openDescriptors()).toEqual(before);
    await mounted.sync();
    expect(failuresOf(await putTree(mounted, from(), '/t'))).toEqual([]);
    const getSignal = AbortSignal.timeout(delayMs);
    const get = getTree(mounted, '/t', to(), { signal: getSignal }).then(
      () => 'ok',
      error => (error === getSignal.reason ? 'aborted' : `${error}`),
    );
    expect(['ok', 'aborted']).toContain(await Promise.race([get, pause(60_000, 'hangs')]));
    expect(openDescriptors()).toEqual(before);
    expect(failuresOf(await getTree(mounted, '/t', to()))).toEqual([]);
    expect(comparable(lookAtTree(to()))).toEqual(comparable(lookAtTree(from())));
    expect(meter.snapshot().put.runningCount).toBe(0);
  });
});

describe('what is wrong with single files', () => {
  it('is told, and the rest is put', async () => {
    makeTree({ small: 20, large: 0 });
    fs.writeFileSync(join(from(), 'secret'), 'x', { mode: 0 });
    fs.mkdirSync(join(from(), 'shut'));
    fs.writeFileSync(join(from(), 'shut', 'x'), 'x');
    fs.chmodSync(join(from(), 'shut'), 0);
    const { volume: mounted } = await volume.client();
    const uid = process.geteuid?.();
    fs.chmodSync(folder, 0o755);
    if (uid === 0) process.seteuid?.(65_534);
    let tally: Tally;
    try {
      tally = await putTree(mounted, from(), '/t');
    } finally {
      if (uid === 0) process.seteuid?.(0);
    }
    expect(failuresOf(tally)).toEqual([`${from()}/secret: EDENIED`, `${from()}/shut: EDENIED`]);
    expect(tally.counts.files).toBe(20);
  });

  it('a file that shrinks or grows while it is read is noted, and put again the next time', async () => {
    fs.mkdirSync(from());
    const path = join(from(), 'busy');
    fs.writeFileSync(path, bytesOf(3, 24 * MIB));
    let isFirst = true;
    const { volume: mounted } = await volume.client();
    const tally = new Tally({
      onProgress: () => {
        if (isFirst) fs.truncateSync(path, 5 * MIB + 3);
        isFirst = false;
      },
    });
    await put(mounted, [from()], '/t', tally, { recursive: true });
    expect(tally.notes.map(({ error }) => error.message)).toEqual([expect.stringContaining('changed')]);
    const again = await putTree(mounted, from(), '/t');
    expect(again.counts.files).toBe(1);
    await getTree(mounted, '/t', to());
    expect(fs.readFileSync(join(to(), 'busy')).equals(fs.readFileSync(path))).toBe(true);
    fs.appendFileSync(path, 'more');
    expect((await putTree(mounted, from(), '/t')).counts.files).toBe(1);
  });

  it('a file that cannot be written down fails alone', async () => {
    makeTree({ small: 20, large: 0 });
    const { volume: mounted } = await volume.client();
    const { root, names } = mounted;
    const attributes = { mode: 0o644, uid: 0, gid: 0, mtimeNs: 1n, xattrs: [] };
    const bad = {
      ...names.newFile(attributes),
      xattrs: [{ key: 'user.x', value: new Uint8Array(65 * 1024) }],
    };
    const failures = await names.insertMany(root, [
      { name: 'bad', inode: bad, segments: [] },
      { name: 'good', inode: names.newFile(attributes), segments: [] },
    ]);
    expect(failures.map(error => error?.code)).toEqual(['EINVAL', undefined]);
  });

  it.runIf(CAN_MOUNT)(
    'a full target ends a get with EFULL, and with room a repetition completes',
    async () => {
      makeTree({ small: 50, large: 2 });
      const { volume: mounted } = await volume.client();
      await putTree(mounted, from(), '/t');
      const target = join(folder, 'small');
      mountSmall(target, '12m');
      try {
        expect(await codeOf(getTree(mounted, '/t', join(target, 't')))).toBe('EFULL');
        const left = fs.readdirSync(target, { recursive: true, encoding: 'utf8' });
        expect(left.filter(name => name.includes('.netseal-'))).toEqual([]);
      } finally {
        unmount(target);
      }
      mountSmall(join(folder, 'enough'), '64m');
      try {
        const enough = join(folder, 'enough', 't');
        expect(failuresOf(await getTree(mounted, '/t', enough))).toEqual([]);
        expect(comparable(lookAtTree(enough))).toEqual(comparable(lookAtTree(from())));
      } finally {
        unmount(join(folder, 'enough'));
      }
    },
  );
});

describe('a get of damaged files', () => {
  it('names them with the ranges that are lost, links none of their names to older copies, and writes the rest', async () => {
    fs.mkdirSync(from());
    const write = (name: string, bytes: Uint8Array): void => fs.writeFileSync(join(from(), name), bytes);
    write('older', Buffer.from('older'));
    fs.linkSync(join(from(), 'older'), join(from(), 'older too'));
    const { volume: mounted } = await volume.client();
    await putTree(mounted, from(), '/t');
    await getTree(mounted, '/t', to());
    fs.writeFileSync(join(from(), 'older'), 'newer, and longer');
    write('small', bytesOf(1, 5000));
    write('large', bytesOf(2, 300 * KIB));
    write('beside', bytesOf(4, 700));
    await putTree(mounted, from(), '/t');
    write('fine', bytesOf(3, 5000));
    await putTree(mounted, from(), '/t');
    const { volume: reader } = await volume.client();
    // A pack is lost as a whole.
    const damagedPaths = new Set(['older', 'older too', 'small', 'beside', 'large']);
    for (const name of ['older', 'small', 'large']) await damage((await reader.find(`/t/${name}`)).inode);
    const tally = await getTree(reader, '/t', to());
    const failed = new Map(tally.failures.map(({ path, error }) => [path.slice(3), error]));
    expect(new Set(failed.keys())).toEqual(damagedPaths);
    expect(failed.get('small')?.message).toMatch(/^bytes 0 to 5000 are lost/);
    expect(failed.get('beside')?.message).toMatch(/^bytes 0 to 700 are lost/);
    expect(failed.get('large')?.message).toMatch(/^bytes 131072 to 196608 are lost/);
    for (const error of failed.values()) expect(['EAUTH', 'EFORMAT']).toContain(error.code);
    expect(fs.readFileSync(join(to(), 'fine')).equals(bytesOf(3, 5000))).toBe(true);
    // The older copy stays, and is not linked to the new name.
    expect(fs.readFileSync(join(to(), 'older too'), 'utf8')).toBe('older');
  });
});

/** Flips a byte of a file's unit: of the third, if there are so many. */
async function damage(inode: Inode): Promise<void> {
  if (inode.type !== 'file') throw new Error('no file');
  const pointer = (inode.map.slots[2] ?? inode.map.slots[0])?.pointer;
  if (pointer === undefined) throw new Error('no content');
  const key = segmentKey(pointer.segment);
  const { bytes } = await volume.store.get(key);
  const changed = Buffer.from(bytes);
  const at = pointer.offsetBytes + Math.floor(pointer.lengthBytes / 2);
  changed[at] = (changed[at] ?? 0) ^ 1;
  await volume.store.put(key, [changed]);
}
