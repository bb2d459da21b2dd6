/** verify: every kind of damage to every kind of object, and exactly what it affects. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { seededChance } from '../../src/base/chance.ts';
import { NetsealError } from '../../src/base/errors.ts';
import { MemoryStore } from '../../src/server/memory-store.ts';
import type { FileInode } from '../../src/server/sealed/inode.ts';
import type { Pointer } from '../../src/server/sealed/pointer.ts';
import { EMPTY_MAP } from '../../src/server/sealed/unit-map.ts';
import type { ObjectStore } from '../../src/server/store.ts';
import { type VerifyOptions, type VerifyReport, verifyVolume } from '../../src/volume/care/verify.ts';
import type { Damage } from '../../src/volume/care/verify-damage.ts';
import { keyOfEntry } from '../../src/volume/names/references.ts';
import type { Volume } from '../../src/volume/volume.ts';
import { soakSize } from '../support/soak.ts';
import {
  aroundStore,
  bytesOf,
  FILE,
  makeObjectFolder as makeFolder,
  packFiles,
  TestVolume,
  writeFile,
} from './support.ts';

const UNIT_BYTES = 4096;
const LARGE_UNITS = 1100;

/** What is damaged, and what of which files. */
function findings({ damages }: VerifyReport): unknown[] {
  return damages.map(({ key, what, error, affected }: Damage) => ({
    key,
    what,
    code: error.code,
    affected: affected.map(({ paths, bytes, names }) => [
      paths.join(' '),
      ...(bytes ?? []).map(({ from, to }) => `${from}-${to}`),
      ...(names ?? []).map(({ from, to }) => `${from}..${to ?? ''}`),
    ]),
  }));
}

/** The key of the object that a path leads to. */
async function keyAt(client: Volume, path: string): Promise<string> {
  const { entry } = await client.find(path);
  if (entry === undefined) throw new Error('this is the root');
  return keyOfEntry(entry);
}

describe('verify', () => {
  let test: TestVolume;
  let volume: Volume;
  /** The store's objects as they were. */
  const objects = new Map<string, Uint8Array>();

  beforeAll(async () => {
    test = await TestVolume.create();
    ({ volume } = await test.client({ segmentBytes: 1024 * 1024 }));
    await makeFolder(volume, '/folder');
    await writeFile(volume, '/folder/small', bytesOf(1, 10_000));
    await writeFile(volume, '/folder/other', bytesOf(2, 10_000));
    await writeFile(volume, '/large', bytesOf(3, LARGE_UNITS * UNIT_BYTES - 1000));
    await writeFile(volume, '/linked', bytesOf(4, 3 * UNIT_BYTES));
    await volume.names.link(await volume.place('/linked'), await volume.directory('/folder'), 'too');
    const many = await makeFolder(volume, '/many');
    const inodes = Array.from({ length: 3000 }, (_, at) => ({
      name: `${'n'.repeat(60)}${String(at).padStart(4, '0')}`,
      inode: { ...volume.names.newFile(FILE), map: EMPTY_MAP },
      segments: [],
    }));
    await volume.names.insertMany(many, inodes);
    await packFiles(volume, [
      { directory: volume.root, name: 'packed', bytes: bytesOf(5, 900) },
      { directory: await volume.directory('/folder'), name: 'packed', bytes: bytesOf(6, 1200) },
    ]);
    await volume.sync();
    const { entries } = await test.store.list({ limit: 10_000 });
    for (const { key } of entries) objects.set(key, (await test.store.get(key)).bytes);
  });

  afterAll(async () => {
    await test.close();
  });

  /** A new client's view of the volume after something was done to its store. */
  async function seenAfter(
    change: (store: ObjectStore) => Promise<void>,
    options: VerifyOptions = {},
  ): Promise<VerifyReport> {
    const store = new MemoryStore();
    for (const [key, bytes] of objects) await store.put(key, [bytes]);
    await change(store);
    const other = new TestVolume(store, test.header);
    try {
      const client = await other.client();
      return await verifyVolume(client.volume, options);
    } finally {
      await other.close();
    }
  }

  async function edit(
    store: ObjectStore,
    key: string,
    how: (bytes: Uint8Array) => Uint8Array,
  ): Promise<void> {
    const { bytes } = await store.get(key);
    await store.put(key, [how(bytes)]);
  }

  function flip({ segment, offsetBytes, lengthBytes }: Pointer): (store: ObjectStore) => Promise<void> {
    return store =>
      edit(store, `s/${segment}`, bytes => {
        const at = offsetBytes + lengthBytes - 20;
        bytes[at] = (bytes[at] ?? 0) ^ 4;
        return bytes;
      });
  }

  async function fileAt(path: string): Promise<FileInode> {
    const { inode } = await volume.find(path);
    if (inode.type !== 'file') throw new Error(`${path} is no file`);
    return inode;
  }

  async function pointerOf(path: string, slot: number): Promise<Pointer> {
    const found = (await fileAt(path)).map.slots.find(item => item.slot === slot);
    if (found === undefined) throw new Error(`${path} has no slot ${slot}`);
    return found.pointer;
  }

  it('finds a whole volume whole', async () => {
    for (const options of [{}, { deep: true }, { sample: 0.3, chance: seededChance(1) }]) {
      const report = await seenAfter(async () => undefined, options);
      expect(findings(report)).toEqual([]);
      expect(report.notes).toEqual([]);
      expect([report.folders, report.files]).toEqual([3, 3006]);
      expect(report.units).toBe(LARGE_UNITS + 3 + 3 + 3 + 2);
      expect(report.unreferenced.objects).toBe(0);
      if ('deep' in options) expect(report.openedUnits).toBe(report.units);
      else if ('sample' in options) expect(report.openedUnits / report.units).toBeCloseTo(0.3, 1);
      else expect(report.openedUnits).toBe(0);
    }
  });

  it('names the unit of a flipped bit, when it opens it', async () => {
    const pointer = await pointerOf('/folder/small', 1);
    expect(findings(await seenAfter(flip(pointer)))).toEqual([]);
    const expected = [
      {
        key: `s/${pointer.segment}`,
        what: 'unit',
        code: 'EAUTH',
        affected: [['/folder/small', '4096-8192']],
      },
    ];
    expect(findings(await seenAfter(flip(pointer), { deep: true }))).toEqual(expected);
    expect(findings(await seenAfter(flip(pointer), { sample: 0.5, chance: () => 0.4 }))).toEqual(expected);
    expect(findings(await seenAfter(flip(pointer), { sample: 0.5, chance: () => 0.6 }))).toEqual([]);
  });

  it('names all paths of a file with several', async () => {
    const pointer = await pointerOf('/linked', 2);
    const [finding] = findings(await seenAfter(flip(pointer), { deep: true }));
    expect(finding).toMatchObject({ what: 'unit', code: 'EAUTH' });
    expect((finding as { affected: string[][] }).affected).toEqual([['/folder/too /linked', '8192-12288']]);
  });

  it('names what lies in a missing segment', async () => {
    const { segment } = await pointerOf('/folder/other', 0);
    expect(findings(await seenAfter(store => store.delete(`s/${segment}`)))).toEqual([
      { key: `s/${segment}`, what: 'unit', code: 'EMISSING', affected: [['/folder/other', '0-10000']] },
    ]);
  });

  it('names what a truncated segment has lost', async () => {
    const pointer = await pointerOf('/folder/small', 1);
    const cut = (lengthBytes: number) => (store: ObjectStore) =>
      edit(store, `s/${pointer.segment}`, bytes => bytes.slice(0, lengthBytes));
    const missing = { key: `s/${pointer.segment}`, what: 'unit', code: 'ETRUNCATED' };
    expect(findings(await seenAfter(cut(pointer.offsetBytes + pointer.lengthBytes - 1)))).toEqual([
      { ...missing, affected: [['/folder/small', '4096-10000']] },
    ]);
    const footer = { key: `s/${pointer.segment}`, what: 'footer', code: 'EFORMAT', affected: [] };
    const whole = objects.get(`s/${pointer.segment}`)?.byteLength ?? 0;
    expect(findings(await seenAfter(cut(whole - 1)))).toEqual([]);
    expect(findings(await seenAfter(cut(whole - 1), { deep: true }))).toEqual([footer]);
  });

  it('names both files of swapped segments', async () => {
    const one = (await pointerOf('/folder/small', 0)).segment;
    const two = (await pointerOf('/folder/other', 0)).segment;
    const swap = async (store: ObjectStore): Promise<void> => {
      const [left, right] = [objects.get(`s/${one}`), objects.get(`s/${two}`)];
      if (left === undefined || right === undefined) throw new Error('not there');
      await store.put(`s/${one}`, [right]);
      await store.put(`s/${two}`, [left]);
    };
    const report = await seenAfter(swap, { deep: true });
    const named = report.damages.filter(({ what }) => what === 'unit');
    expect(named.map(({ key, error }) => [key, error.code]).sort()).toEqual(
      [
        [`s/${one}`, 'EAUTH'],
        [`s/${two}`, 'EAUTH'],
      ].sort(),
    );
    expect(named.flatMap(({ affected }) => affected.flatMap(({ paths }) => paths)).sort()).toEqual([
      '/folder/other',
      '/folder/small',
    ]);
  });

  it('names the bytes of a map page, and goes on with the other pages', async () => {
    const { map } = await fileAt('/large');
    expect([map.depth, map.slots.length]).toEqual([1, 2]);
    const [first, second] = map.slots;
    if (first === undefined || second === undefined) throw new Error('no pages');
    const firstBytes = 1024 * UNIT_BYTES;
    expect(findings(await seenAfter(flip(first.pointer)))).toEqual([
      {
        key: `s/${first.pointer.segment}`,
        what: 'map page',
        code: 'EAUTH',
        affected: [['/large', `0-${firstBytes}`]],
      },
    ]);
    expect(findings(await seenAfter(flip(second.pointer), { deep: true }))).toEqual([
      {
        key: `s/${second.pointer.segment}`,
        what: 'map page',
        code: 'EAUTH',
        affected: [['/large', `${firstBytes}-${LARGE_UNITS * UNIT_BYTES - 1000}`]],
      },
    ]);
  });

  it('names the names of a lost node, and reads the others', async () => {
    const { tree } = await (await volume.directory('/many')).read();
    if (tree.kind !== 'inner') throw new Error('the folder is too small');
    const [, second, third] = tree.children;
    if (second === undefined || third === undefined) throw new Error('the folder is too small');
    const report = await seenAfter(flip(second.pointer));
    expect(findings(report)).toEqual([
      {
        key: `s/${second.pointer.segment}`,
        what: 'names',
        code: 'EAUTH',
        affected: [['/many', `${second.firstName}..${third.firstName}`]],
      },
    ]);
    const lost = Number(third.firstName.slice(-4)) - Number(second.firstName.slice(-4));
    expect(report.files).toBe(3006 - lost);
  });

  it('names the folder or file of an inode that is missing, damaged or cut short', async () => {
    const folder = await volume.directory('/folder');
    const linked = `i/${await keyAt(volume, '/linked')}`;
    const key = `i/${folder.key}`;
    const damage = { key, what: 'inode', affected: [['/folder']] };
    expect(findings(await seenAfter(store => store.delete(key)))).toEqual([{ ...damage, code: 'EMISSING' }]);
    for (const [how, code] of [
      [(bytes: Uint8Array) => bytes.map((byte, at) => (at === 90 ? ~byte : byte)), 'EAUTH'],
      [(bytes: Uint8Array) => bytes.slice(0, 100), 'ETRUNCATED'],
      [(bytes: Uint8Array) => bytes.slice(0, 0), 'ETRUNCATED'],
      [() => objects.get(linked) ?? new Uint8Array(), 'EAUTH'],
    ] as const) {
      expect(findings(await seenAfter(store => edit(store, key, how)))).toEqual([{ ...damage, code }]);
    }
    expect(findings(await seenAfter(store => store.delete(linked)))).toEqual([
      { key: linked, what: 'inode', code: 'EMISSING', affected: [['/folder/too /linked']] },
    ]);
  });

  it('goes on past a damaged root', async () => {
    const key = `i/${volume.settings.rootId}`;
    const report = await seenAfter(store => edit(store, key, bytes => bytes.fill(0)));
    expect(findings(report)).toEqual([{ key, what: 'inode', code: 'EFORMAT', affected: [['']] }]);
    expect(report.unreferenced.objects).toBeGreaterThan(5);
  });

  it('reports an inode that is older than what was seen', async () => {
    const store = new MemoryStore();
    for (const [key, bytes] of objects) await store.put(key, [bytes]);
    const other = new TestVolume(store, test.header);
    const { volume: client } = await other.client();
    const folder = await client.directory('/folder');
    await writeFile(client, '/folder/new', bytesOf(9, 10));
    const key = `i/${folder.key}`;
    await store.put(key, [objects.get(key) ?? new Uint8Array()]);
    expect(findings(await verifyVolume(client))).toEqual([
      { key, what: 'inode', code: 'EROLLBACK', affected: [['/folder']] },
    ]);
    await other.close();
  });

  it('takes counts of a folder that are not those of its entries for damage', async () => {
    for (const wrong of [{ entryCount: 99 }, { subdirectoryCount: 0 }]) {
      const store = new MemoryStore();
      for (const [key, bytes] of objects) await store.put(key, [bytes]);
      const other = new TestVolume(store, test.header);
      const { volume: client } = await other.client();
      const { entryCount, subdirectoryCount } = await client.root.read();
      expect(Math.min(entryCount, subdirectoryCount)).toBeGreaterThan(0);
      expect((await verifyVolume(client)).damages).toEqual([]);
      // `InodePatch` has no counts: a draft keeps them itself.
      await client.root.apply(draft => draft.update(wrong as object));
      const report = await verifyVolume(client);
      expect(report.damages.map(({ what, error }) => [what, error.code])).toEqual([
        ['entry count', 'EFORMAT'],
      ]);
      await other.close();
    }
  });

  it('takes a link count that is too low for damage, and one that is too high for a note', async () => {
    for (const [linkCount, isDamage] of [
      [1, true],
      [5, false],
    ] as const) {
      const store = new MemoryStore();
      for (const [key, bytes] of objects) await store.put(key, [bytes]);
      const other = new TestVolume(store, test.header);
      const { volume: client } = await other.client();
      await client.inodes.get(await keyAt(client, '/linked')).apply(draft => draft.update({ linkCount }));
      const report = await verifyVolume(client);
      expect(report.damages.map(({ what, affected }) => [what, affected[0]?.paths])).toEqual(
        isDamage ? [['link count', ['/folder/too', '/linked']]] : [],
      );
      expect(report.notes).toHaveLength(isDamage ? 0 : 1);
      await other.close();
    }
  });

  it('counts what nothing refers to', async () => {
    const report = await seenAfter(async store => {
      await store.put(`s/${'0'.repeat(32)}`, [new Uint8Array(1000)]);
      await store.put(`i/${'0'.repeat(32)}`, [new Uint8Array(10)]);
    });
    expect(findings(report)).toEqual([]);
    expect(report.unreferenced).toEqual({ objects: 2, bytes: 1010 });
  });

  it('ends when the store cannot be asked, and when it is aborted', async () => {
    const broken = aroundStore(test.store, async call => {
      if (call.operation === 'get') throw new NetsealError('EUNAVAILABLE', 'the network is down');
      return await call.send();
    });
    const { volume: client } = await test.client({ around: () => broken });
    await expect(verifyVolume(client)).rejects.toMatchObject({ code: 'EUNAVAILABLE' });
    const controller = new AbortController();
    const aborted = verifyVolume((await test.client()).volume, {
      deep: true,
      signal: controller.signal,
      onProgress: ({ items }) => {
        if (items > 100) controller.abort(new Error('enough'));
      },
    });
    await expect(aborted).rejects.toThrow('enough');
  });

  it('finds single flipped bits anywhere, and never more than they touch', async () => {
    const chance = seededChance(20);
    const keys = [...objects.keys()].filter(key => /^[si]\//.test(key));
    for (let round = 0; round < soakSize(15, 300); round += 1) {
      const key = keys[Math.floor(chance() * keys.length)] ?? '';
      const report = await seenAfter(
        store =>
          edit(store, key, bytes => {
            const at = Math.floor(chance() * bytes.byteLength);
            bytes[at] = (bytes[at] ?? 0) ^ (1 << Math.floor(chance() * 8));
            return bytes;
          }),
        { deep: true },
      );
      expect(
        report.damages.map(damage => damage.key),
        key,
      ).toEqual([key]);
    }
  });
});
