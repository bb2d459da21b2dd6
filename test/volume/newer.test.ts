/**
 * What a later netseal may write under a higher number: each structure is refused by name, wherever the number stands, and
 * nothing is deleted or written over. `drafts.test.ts` has the lower number.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { unlockVolumeHeader } from '../../src/keys/unlock.ts';
import { decodeCandidateList } from '../../src/server/sealed/gc-format.ts';
import { readCandidateList } from '../../src/server/sealed/gc-objects.ts';
import { readHeadObject } from '../../src/server/sealed/head-object.ts';
import { readInodeObject } from '../../src/server/sealed/inode-object.ts';
import { decodeMapPage } from '../../src/server/sealed/map-format.ts';
import { decodeNameNode } from '../../src/server/sealed/name-node-format.ts';
import { HEAD_PREFIX, inodeKey, ORDER_PREFIX } from '../../src/server/sealed/object-keys.ts';
import { readSegmentFooter } from '../../src/server/sealed/segment-footer.ts';
import { collectGarbage } from '../../src/volume/care/gc.ts';
import { verifyVolume } from '../../src/volume/care/verify.ts';
import { writeOwnHead } from '../../src/volume/history/own-head.ts';
import { createVolume, openVolume } from '../../src/volume/open.ts';
import { publishOrder, requireKept } from '../../src/volume/session/gc-orders.ts';
import { encodeSettings } from '../../src/volume/session/volume-settings.ts';
import type { Volume } from '../../src/volume/volume.ts';
import { GRACE_MS, HOUR_MS, TimedVolume } from './gc-support.ts';
import { snapshot } from './heads-support.ts';
import { bytesOf, codeOf, makeObjectFolder, namesIn, readFile, testPipeline, writeFile } from './support.ts';

let timed: TimedVolume;
let volume: Volume;

beforeEach(async () => {
  timed = await TimedVolume.create();
  ({ volume } = await timed.client());
});

afterEach(async () => {
  await timed.test.close();
});

type Kind = 'inode' | 'head' | 'gcCandidates';

/** Seals an object again, with the number of its layout raised. */
async function raise(key: string, kind: Kind): Promise<void> {
  const { control } = volume.session.sealing;
  const objectId = key.slice(key.lastIndexOf('/') + 1);
  const at = { kind, objectId, index: 0 };
  const plain = control.open(at, (await timed.store.get(key)).bytes, 2 ** 24);
  expect(plain[0]).toBe(2);
  plain[0] = 3;
  await timed.store.put(key, [control.seal(at, plain).bytes]);
}

const REFUSED = /of layout 3: this netseal knows 2\. Use a newer one/;

describe('a volume header', () => {
  it('of a newer version is refused by name, and nothing is written', async () => {
    const { store } = timed;
    const secrets = { type: 'raw-key', key: new Uint8Array(32).fill(3) } as const;
    await createVolume({ store, slots: [{ label: 'key', secret: secrets }] });
    const { bytes } = await store.get('volume');
    bytes[4] = 2;
    await store.put('volume', [bytes]);
    const before = await snapshot(store);
    const opening = openVolume({ store, secrets, pipeline: await testPipeline() });
    await expect(opening).rejects.toMatchObject({
      code: 'EUNSUPPORTED',
      message: 'volume header: version 2, and this netseal reads version 1',
    });
    expect(await snapshot(store)).toEqual(before);
  });

  it('whose settings are of a newer layout is refused by name, and nothing is written', async () => {
    const { store } = timed;
    const secrets = { type: 'raw-key', key: new Uint8Array(32).fill(3) } as const;
    await createVolume({ store, slots: [{ label: 'key', secret: secrets }] });
    const header = await unlockVolumeHeader((await store.get('volume')).bytes, secrets);
    const settings = JSON.parse(Buffer.from(encodeSettings(volume.settings)).toString()) as object;
    const newer = header.withSettings(Buffer.from(JSON.stringify({ ...settings, layout: 3 })));
    await store.put('volume', [newer.bytes]);
    const before = await snapshot(store);
    const opening = openVolume({ store, secrets, pipeline: await testPipeline() });
    await expect(opening).rejects.toMatchObject({
      code: 'EUNSUPPORTED',
      message: expect.stringMatching(/^volume settings of layout 3: this netseal knows 2/),
    });
    expect(await snapshot(store)).toEqual(before);
    header.keyring.destroy();
  });
});

describe('an inode object', () => {
  it('of a newer layout is refused by name, beside everything else; gc deletes nothing', async () => {
    const folder = await makeObjectFolder(volume, '/newer');
    await writeFile(volume, '/file', bytesOf(1, 100));
    await writeFile(volume, '/gone', bytesOf(2, 100));
    await volume.names.unlink(volume.root, 'gone');
    await timed.collect();
    timed.wait(GRACE_MS + HOUR_MS);
    await raise(inodeKey(folder.key), 'inode');
    const before = await timed.keys('');
    const { volume: other } = await timed.client();
    await expect(readInodeObject(other.session.sealing, folder.key)).rejects.toThrow(REFUSED);
    expect(await codeOf(namesIn(other, '/newer'))).toBe('EUNSUPPORTED');
    expect(await codeOf(writeFile(other, '/newer/file', bytesOf(1, 10)))).toBe('EUNSUPPORTED');
    expect(await readFile(other, '/file')).toEqual(bytesOf(1, 100));
    const { damages } = await verifyVolume(other);
    expect(damages.map(({ key, error }) => [key, error.code])).toEqual([
      [inodeKey(folder.key), 'EUNSUPPORTED'],
    ]);
    const report = await collectGarbage(other);
    expect([report.deleted.objects, report.lost.map(({ error }) => error.code)]).toEqual([
      0,
      ['EUNSUPPORTED'],
    ]);
    const after = await timed.keys('');
    expect(before.filter(key => !key.startsWith('gc/') && !after.includes(key))).toEqual([]);
  });
});

describe('a segment', () => {
  it('whose trailer or footer is of a newer layout is refused by name where they are needed', async () => {
    await writeFile(volume, '/file', bytesOf(1, 5000));
    const { inode } = await volume.find('/file');
    const id = inode.type === 'file' ? (inode.map.slots[0]?.pointer.segment ?? '') : '';
    const { control } = volume.session.sealing;
    const { bytes } = await timed.store.get(`s/${id}`);
    const read = async (changed: Uint8Array): Promise<unknown> => {
      await timed.store.put(`s/${id}`, [changed]);
      return await readSegmentFooter(volume.session.sealing, id, changed.byteLength);
    };
    const trailer = Uint8Array.from(bytes);
    trailer[bytes.byteLength - 12] = 3;
    await expect(read(trailer)).rejects.toThrow(REFUSED);
    // Nobody needs it to read a file.
    expect(await readFile((await timed.client()).volume, '/file')).toEqual(bytesOf(1, 5000));

    const footerBytes = Buffer.from(bytes).readUInt32LE(bytes.byteLength - 8);
    const footerAt = bytes.byteLength - 16 - footerBytes;
    const at = { kind: 'segmentFooter', objectId: id, index: 0 } as const;
    const plain = control.open(at, bytes.subarray(footerAt, -16), 2 ** 24);
    plain[0] = 3;
    const footer = control.seal(at, plain).bytes;
    expect(footer.byteLength).toBe(footerBytes);
    const changed = Uint8Array.from(bytes);
    changed.set(footer, footerAt);
    await expect(read(changed)).rejects.toMatchObject({
      code: 'EUNSUPPORTED',
      message: expect.stringMatching(REFUSED),
    });
  });

  it('with a record of a newer version is refused by name for what that record holds', async () => {
    await writeFile(volume, '/file', bytesOf(1, 5000));
    const [key = ''] = (await timed.keys('s/')).slice(-1);
    const { bytes } = await timed.store.get(key);
    bytes[4] = 2;
    await timed.store.put(key, [bytes]);
    const { volume: other } = await timed.client();
    await expect(readFile(other, '/file')).rejects.toMatchObject({
      code: 'EUNSUPPORTED',
      message: expect.stringContaining('sealed record of version 2; this netseal knows 1'),
    });
  });
});

describe('a head', () => {
  it('of a newer layout is reported by name, and the others count; its own client leaves it as it is', async () => {
    await writeFile(volume, '/file', bytesOf(1, 100));
    await writeOwnHead(volume.session);
    const { clientId } = volume.session.state.heads;
    await raise(HEAD_PREFIX + clientId, 'head');
    const stored = (await timed.store.get(HEAD_PREFIX + clientId)).bytes;
    const { head } = await readHeadObject(volume.session.sealing, clientId);
    expect(head).toMatchObject({ code: 'EUNSUPPORTED', message: expect.stringMatching(REFUSED) });
    expect(await codeOf(writeOwnHead(volume.session))).toBe('EUNSUPPORTED');
    // It may say that files are open: gc deletes nothing until it is old.
    const { volume: collecting } = await timed.client();
    await expect(collectGarbage(collecting)).rejects.toThrow(REFUSED);
    const problems: string[] = [];
    const { volume: other } = await timed.client({ onProblem: ({ message }) => problems.push(message) });
    await writeFile(other, '/another', bytesOf(2, 100));
    await other.close();
    expect(problems).toEqual([expect.stringMatching(REFUSED)]);
    expect((await timed.store.get(HEAD_PREFIX + clientId)).bytes).toEqual(stored);
  });
});

describe('a candidate list', () => {
  it('of a newer layout ends gc before it deletes anything', async () => {
    await writeFile(volume, '/gone', bytesOf(1, 100));
    await volume.names.unlink(volume.root, 'gone');
    await timed.collect();
    const [key = ''] = await timed.keys('gc/');
    timed.wait(GRACE_MS + HOUR_MS);
    expect((await timed.collect({ dryRun: true })).deletable.objects).toBeGreaterThan(0);
    await raise(key, 'gcCandidates');
    await expect(readCandidateList(volume.session.sealing, key, key.slice(3))).rejects.toThrow(REFUSED);
    const before = await snapshot(timed.store);
    expect(await codeOf(timed.collect())).toBe('EUNSUPPORTED');
    expect(await snapshot(timed.store)).toEqual(before);
  });
});

describe('an order', () => {
  it('of a newer layout stops a writer that must know what it says', async () => {
    const { sealing } = volume.session;
    const order = { timeMs: timed.clock.ms, segments: new Map(), inodes: new Map() };
    const key = await publishOrder(sealing, order);
    expect(key.startsWith(ORDER_PREFIX)).toBe(true);
    const referred = { segments: [], inodes: [timed.test.rootId] };
    expect(await codeOf(requireKept(sealing, referred))).toBe('ok');
    await raise(key, 'gcCandidates');
    await expect(requireKept(sealing, referred)).rejects.toThrow(REFUSED);
  });
});

describe('a node in a segment', () => {
  it('of a newer layout is refused by name', () => {
    for (const decode of [decodeNameNode, decodeMapPage, decodeCandidateList]) {
      expect(() => decode(Uint8Array.of(3, 0, 0, 0))).toThrow(REFUSED);
    }
  });
});
