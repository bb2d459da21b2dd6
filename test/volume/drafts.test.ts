/**
 * Drafts of the layout, number 1 in the store, and the layout, number 2: neither netseal takes the other's stores for its
 * own. `test/fixtures/store-v0` was written by the last netseal of the drafts: three files (one of them sparse, with a map
 * page), two folders, a symbolic link, a head and a candidate list.
 */
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { unlockVolumeHeader } from '../../src/keys/unlock.ts';
import { DirectoryStore } from '../../src/server/directory-store.ts';
import { ControlSealer } from '../../src/server/sealed/control.ts';
import { readCandidateList } from '../../src/server/sealed/gc-objects.ts';
import { readHeadObject } from '../../src/server/sealed/head-object.ts';
import { readInodeObject } from '../../src/server/sealed/inode-object.ts';
import { readSegmentFooter } from '../../src/server/sealed/segment-footer.ts';
import type { ObjectStore } from '../../src/server/store.ts';
import { collectGarbage } from '../../src/volume/care/gc.ts';
import { openVolume } from '../../src/volume/open.ts';
import { TimedVolume } from './gc-support.ts';
import { writeFile } from './support.ts';

const FIXTURES = join(import.meta.dirname, '..', 'fixtures');
const SECRET = {
  type: 'key-file',
  contents: new Uint8Array(readFileSync(join(FIXTURES, 'store-v0.key'))),
} as const;

let folder = '';

afterEach(() => {
  if (folder !== '') rmSync(folder, { recursive: true });
  folder = '';
});

async function draftStore(): Promise<ObjectStore> {
  folder = mkdtempSync(join(tmpdir(), 'netseal-v0-'));
  cpSync(join(FIXTURES, 'store-v0'), folder, { recursive: true });
  return await DirectoryStore.open(folder, { durability: 'none' });
}

/** What everything that begins with a layout number says, decrypted; by kind. */
async function numbersOf(store: ObjectStore, control: ControlSealer): Promise<Record<string, Set<number>>> {
  const numbers: Record<string, Set<number>> = {};
  const note = (kind: string, number: number | undefined): void => {
    numbers[kind] ??= new Set();
    numbers[kind].add(number ?? -1);
  };
  const { entries } = await store.list({ prefix: '', limit: 1000 });
  for (const { key } of entries) {
    const [prefix, id = ''] = key.split('/');
    const { bytes } = await store.get(key);
    const open = (kind: 'inode' | 'head' | 'gcCandidates'): void =>
      note(kind, control.open({ kind, objectId: id, index: 0 }, bytes, 2 ** 24)[0]);
    if (prefix === 'i') open('inode');
    if (prefix === 'heads') open('head');
    if (prefix === 'gc') open('gcCandidates');
    if (prefix !== 's') continue;
    note('trailer', bytes.at(-12));
    const footerBytes = Buffer.from(bytes).readUInt32LE(bytes.byteLength - 8);
    const sealed = bytes.slice(-16 - footerBytes, -16);
    note(
      'segmentFooter',
      control.open({ kind: 'segmentFooter', objectId: id, index: 0 }, sealed, 2 ** 24)[0],
    );
  }
  return numbers;
}

const KINDS = ['gcCandidates', 'head', 'inode', 'segmentFooter', 'trailer'];

describe('a volume of the drafts', () => {
  it('is refused by name, and the message says what to do', async () => {
    await using store = await draftStore();
    const before = readdirSync(folder, { recursive: true });
    const opening = openVolume({ store, secrets: SECRET });
    await expect(opening).rejects.toMatchObject({ code: 'EUNSUPPORTED' });
    await expect(openVolume({ store, secrets: SECRET })).rejects.toThrow(
      /^volume settings of layout 1: a draft .* Get the files with the netseal that put them, and put them into a new volume$/,
    );
    expect(readdirSync(folder, { recursive: true })).toEqual(before);
  });

  it('is refused in each of its objects as well', async () => {
    await using store = await draftStore();
    const header = await unlockVolumeHeader((await store.get('volume')).bytes, SECRET);
    const control = await ControlSealer.create(header.keyring, {
      suite: 'xaes-256-gcm',
      codec: { codec: 'zstd', level: 1 },
    });
    const numbers = await numbersOf(store, control);
    expect(Object.keys(numbers).sort()).toEqual(KINDS);
    for (const kind of KINDS) expect([kind, ...(numbers[kind] ?? [])]).toEqual([kind, 1]);
    const parts = { store, control };
    const { entries } = await store.list({ prefix: '', limit: 1000 });
    for (const { key, sizeBytes } of entries) {
      const [prefix, id = ''] = key.split('/');
      const reading: Record<string, () => Promise<unknown>> = {
        i: () => readInodeObject(parts, id),
        s: () => readSegmentFooter(parts, id, sizeBytes),
        gc: () => readCandidateList(parts, key, id),
        heads: async () => {
          const { head } = await readHeadObject(parts, id);
          throw head;
        },
      };
      const read = reading[prefix ?? ''];
      if (read !== undefined) {
        await expect(read(), key).rejects.toMatchObject({
          code: 'EUNSUPPORTED',
          message: expect.stringContaining('of layout 1: a draft'),
        });
      }
    }
    control.destroy();
    header.keyring.destroy();
  });
});

describe('a volume of today', () => {
  it('has a number everywhere that a netseal of the drafts refuses as newer', async () => {
    const timed = await TimedVolume.create();
    const { volume } = await timed.client();
    await writeFile(volume, '/file', new Uint8Array(5000).fill(1));
    await writeFile(volume, '/gone', new Uint8Array(5000).fill(2));
    await volume.names.unlink(volume.root, 'gone');
    await collectGarbage(volume);
    await volume.close();
    const control = await ControlSealer.create(timed.test.header.keyring, volume.session.sealing);
    const numbers = await numbersOf(timed.store, control);
    expect(Object.keys(numbers).sort()).toEqual(KINDS);
    // Those of the drafts read the number first, and refused what was more than 1: EUNSUPPORTED.
    for (const kind of KINDS) expect([kind, ...(numbers[kind] ?? [])]).toEqual([kind, 2]);
    const settings: unknown = JSON.parse(Buffer.from(timed.test.header.settings).toString());
    expect(settings).toMatchObject({ layout: 2 });
    control.destroy();
    await timed.test.close();
  });
});
