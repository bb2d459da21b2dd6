/** Whatever an encoder of the sealed layout accepts, its decoder gives back; the rest is EINVAL before anything is written. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeCandidateList, encodeCandidateList } from '../../../src/server/sealed/gc-format.ts';
import { decodeClientHead, encodeClientHead } from '../../../src/server/sealed/head-format.ts';
import type { InodeObject } from '../../../src/server/sealed/inode.ts';
import { decodeInodeObject, encodeInodeObject } from '../../../src/server/sealed/inode-format.ts';
import { decodeMapPage, encodeMapPage } from '../../../src/server/sealed/map-format.ts';
import { decodeNameNode, encodeNameNode } from '../../../src/server/sealed/name-node-format.ts';
import {
  decodeFooter,
  decodeTrailer,
  encodeFooter,
  encodeTrailer,
} from '../../../src/server/sealed/segment-format.ts';
import { errorCodeOf } from '../../support/errors.ts';
import { checkGivesBack } from '../../support/wild.ts';
import { counts, ids, inodeObjects, mapPages, nameNodes, segmentEntries } from './arbitraries.ts';
import { SMALL_FILE } from './format-examples.ts';

const TIME_NS_MAX = 2n ** 63n - 1n;

function recordOf(times: Partial<Record<'mtimeNs' | 'ctimeNs' | 'birthNs', bigint>>): InodeObject {
  return { inode: { ...SMALL_FILE, ...times }, writers: [], predecessor: undefined };
}

describe('what encoders of the layout accept, decoders give back', () => {
  it('inode objects', () => {
    checkGivesBack(inodeObjects, value => decodeInodeObject(encodeInodeObject(value), value.inode.id), [
      recordOf({ mtimeNs: TIME_NS_MAX, ctimeNs: TIME_NS_MAX + 5n, birthNs: TIME_NS_MAX }),
    ]);
  });

  it('inode objects, but for a version that is no whole number', () => {
    const writers = [5_654_279_126_757_159, 255.5].map(version => ({ version, nonce: 'ab'.repeat(16) }));
    const object: InodeObject = { inode: SMALL_FILE, writers, predecessor: undefined };
    expect(errorCodeOf(() => encodeInodeObject(object))).toBe('EINVAL');
  });

  it('name nodes', () => {
    checkGivesBack(nameNodes, value => decodeNameNode(encodeNameNode(value)));
  });

  it('map pages', () => {
    checkGivesBack(mapPages, value => decodeMapPage(encodeMapPage(value)));
  });

  it('footers and trailers of segments', () => {
    checkGivesBack(segmentEntries, entries => {
      const endBytes = entries.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0);
      return decodeFooter(encodeFooter(entries), endBytes);
    });
    checkGivesBack(
      counts(2 ** 24).map(bytes => bytes + 72),
      footerBytes => decodeTrailer(encodeTrailer(footerBytes), footerBytes + 16).footerBytes,
    );
  });

  it('candidate lists', () => {
    const candidates = fc.uniqueArray(fc.record({ id: ids, timeMs: counts() }), { selector: ({ id }) => id });
    checkGivesBack(fc.record({ timeMs: counts(), segments: candidates, inodes: candidates }), value => {
      const mapOf = (of: readonly { id: string; timeMs: number }[]): Map<string, number> =>
        new Map(of.map(({ id, timeMs }) => [id, timeMs]));
      const list = { ...value, segments: mapOf(value.segments), inodes: mapOf(value.inodes) };
      const [record = new Uint8Array(0)] = encodeCandidateList(list);
      const read = decodeCandidateList(record).list;
      expect(read).toEqual(list);
      return value;
    });
  });

  it('heads', () => {
    const hashes = fc.tuple(ids, ids).map(halves => halves.join(''));
    const session = fc.record({ id: ids, seenAtMs: counts(), oldestOpenMs: counts() });
    const mark = fc.record({ id: ids, version: counts(), hash: hashes });
    const heads = fc.record({
      isEphemeral: fc.boolean(),
      version: counts(),
      writtenAtMs: counts(),
      sessions: fc
        .uniqueArray(session, { selector: ({ id }) => id })
        .map(sessions => sessions.sort((left, right) => (left.id < right.id ? -1 : 1))),
      marks: fc.uniqueArray(mark, { selector: ({ id }) => id }),
    });
    checkGivesBack(heads, value => decodeClientHead(encodeClientHead(value)));
  });
});

describe('a time beyond 64 bits of ns', () => {
  it.each([
    { mtimeNs: TIME_NS_MAX + 1n },
    { mtimeNs: TIME_NS_MAX, ctimeNs: TIME_NS_MAX + 1n },
    { mtimeNs: -TIME_NS_MAX - 1n, ctimeNs: -TIME_NS_MAX - 1n, birthNs: -TIME_NS_MAX - 2n },
  ])('is refused, however near it is to another: %o', times => {
    expect(errorCodeOf(() => encodeInodeObject(recordOf(times)))).toBe('EINVAL');
  });
});
