/** Records of several kinds under one object and index. */
import { expect, it } from 'vitest';
import { viewOf } from '../../src/base/bytes.ts';
import { encodeHeader, RECORD_KINDS } from '../../src/unit/record-format.ts';
import { collect, idOf, newFolder, openTestCache, tagOf, unitOf } from './support.ts';

const VOLUME = idOf(1);
const OBJECT = idOf(2);

function recordOf(
  kind: 'unit' | 'mapPage' | 'directoryLeaf' | 'inode',
  seed: number,
): Uint8Array<ArrayBuffer> {
  const bytes = unitOf(seed, 500);
  const sealedLengthBytes = bytes.byteLength;
  encodeHeader(viewOf(bytes), kind, { suite: 'xaes-256-gcm', flags: 0, epoch: 1, sealedLengthBytes });
  return bytes;
}

it('units, map pages and leaves of one object and index are kept apart, also by the next process', async () => {
  const folder = newFolder();
  const kinds = ['unit', 'mapPage', 'directoryLeaf'] as const;
  const records = kinds.map((kind, at) => ({ kind, objectId: OBJECT, index: 7, bytes: recordOf(kind, at) }));
  const first = await openTestCache(folder);
  expect(await first.volume(VOLUME).put(records)).toBe(3);
  await first.close();
  const cache = await openTestCache(folder);
  const volume = cache.volume(VOLUME);
  const into = records.map(({ bytes }) => new Uint8Array(bytes.byteLength));
  const wanted = records.map(({ bytes, ...place }, at) => {
    return { ...place, expectedTag: tagOf(bytes), into: into[at] ?? new Uint8Array(0) };
  });
  expect(await volume.get(wanted)).toEqual([500, 500, 500]);
  expect(into.map(bytes => bytes[5])).toEqual(kinds.map(kind => RECORD_KINDS[kind]));
  const listed = await collect(cache.units(VOLUME, OBJECT));
  expect(listed.map(({ kind, index }) => ({ kind, index }))).toEqual(kinds.map(kind => ({ kind, index: 7 })));
  expect(() => volume.has({ kind: 'mapPage', objectId: OBJECT, index: 2 ** 48 })).toThrow(/EINVAL|index/);
});

it('a version that did not open is dropped; another stays', async () => {
  const cache = await openTestCache(newFolder());
  const volume = cache.volume(VOLUME);
  const place = { objectId: OBJECT, index: 3 };
  const bytes = recordOf('unit', 4);
  await volume.put([{ ...place, bytes }]);
  volume.drop({ ...place, expectedTag: tagOf(recordOf('unit', 5)) });
  expect(volume.has({ ...place, expectedTag: tagOf(bytes) })).toBe(true);
  volume.drop({ ...place, expectedTag: tagOf(bytes) });
  expect(volume.has(place)).toBe(false);
  expect(cache.statistics.problems.damaged).toBe(1);
});

it('other kinds of record are not kept, and only units can be dirty', async () => {
  const cache = await openTestCache(newFolder());
  const inode = { objectId: OBJECT, index: 0, bytes: recordOf('inode', 6) };
  expect(await cache.volume(VOLUME).put([inode])).toBe(0);
  expect(cache.statistics.dropped.unsuitable).toBe(1);
  const page = {
    volumeId: VOLUME,
    kind: 'mapPage',
    objectId: OBJECT,
    index: 0,
    bytes: recordOf('mapPage', 7),
  } as const;
  await expect(cache.appendDirty({ units: [page] })).rejects.toMatchObject({ code: 'EINVAL' });
});
