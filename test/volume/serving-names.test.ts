/** Open files whose names change: by this session, by another, wherever their inodes lie. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { collectGarbage } from '../../src/volume/care/gc.ts';
import type { Volume } from '../../src/volume/volume.ts';
import { UNIT_BYTES } from '../netfs/server-contract.ts';
import { rejectionCode } from '../pipeline/support.ts';
import { SEED } from '../support/soak.ts';
import { GRACE_MS, HOUR_MS, TimedVolume } from './gc-support.ts';
import { contentOf, expectSeeds, type File, makeFile, openFile } from './serving-support.ts';
import {
  aroundStore,
  type Client,
  jitteryStore,
  makeFolder,
  makeObjectFolder,
  namesIn,
  packFiles,
  quiet,
} from './support.ts';

let timed: TimedVolume;
let mine: Client;
let theirs: Client;

beforeEach(async () => {
  timed = await TimedVolume.create();
  mine = await timed.client();
  theirs = await timed.client();
});

afterEach(async () => {
  await timed.test.close();
});

async function rename(volume: Volume, from: string, to: string): Promise<void> {
  await volume.names.rename(await volume.place(from), await volume.place(to));
}

async function unlink(volume: Volume, path: string): Promise<void> {
  const { directory, name } = await volume.place(path);
  await volume.names.unlink(directory, name);
}

/** Where an inode may lie. Each makes `/a/file` of one unit of seed 1. */
const KINDS: Record<string, () => Promise<void>> = {
  embedded: async () => {
    await makeObjectFolder(mine.volume, '/a');
    await makeFile(mine, '/a/file', 1, 1);
  },
  'in embedded folders': async () => {
    await makeFolder(mine.volume, '/a');
    await makeFile(mine, '/a/file', 1, 1);
  },
  'an object': async () => {
    await makeObjectFolder(mine.volume, '/a');
    await makeFile(mine, '/a/file', 1, 1);
    const { directory } = await mine.volume.place('/a/file');
    await mine.volume.names.link({ directory, name: 'file' }, directory, 'other');
    await unlink(mine.volume, '/a/other');
  },
  packed: async () => {
    const directory = await makeObjectFolder(mine.volume, '/a');
    await packFiles(mine.volume, [
      { directory, name: 'file', bytes: contentOf([1]) },
      { directory, name: 'beside', bytes: contentOf([2]) },
    ]);
  },
};

async function commit(file: File, seed: number): Promise<void> {
  await file.commit(await file.place([1], seed), 2 * UNIT_BYTES);
}

for (const [kind, make] of Object.entries(KINDS)) {
  describe(`an open file, ${kind}`, () => {
    beforeEach(async () => {
      await make();
      await makeFolder(mine.volume, '/a/b');
      await makeObjectFolder(mine.volume, '/c');
    });

    it('goes on under the names that this session gives it', async () => {
      const file = await openFile(mine, '/a/file');
      let at = '/a/file';
      for (const [round, to] of ['/a/renamed', '/a/b/deep', '/c/far', '/file'].entries()) {
        await rename(mine.volume, at, to);
        at = to;
        await commit(file, 2 + round);
        await expectSeeds(theirs, to, [1, 2 + round]);
      }
      expect(await file.seeds(1, 2)).toEqual([5]);
    });

    it('goes on when this session moves the folders that it lies in', async () => {
      await rename(mine.volume, '/a/file', '/a/b/file');
      const file = await openFile(mine, '/a/b/file');
      await rename(mine.volume, '/a/b', '/c/moved');
      await commit(file, 2);
      await expectSeeds(theirs, '/c/moved/file', [1, 2]);
      await rename(mine.volume, '/c', '/last');
      await commit(file, 3);
      await expectSeeds(theirs, '/last/moved/file', [1, 3]);
    });

    it('goes on when another session renames it within its folder', async () => {
      const file = await openFile(mine, '/a/file');
      await rename(theirs.volume, '/a/file', '/a/renamed');
      expect(await file.refresh()).toBe(false);
      await commit(file, 2);
      await expectSeeds(theirs, '/a/renamed', [1, 2]);
      // And once more, with nothing asked in between.
      await rename(theirs.volume, '/a/renamed', '/a/again');
      await commit(file, 3);
      await expectSeeds(theirs, '/a/again', [1, 3]);
    });

    it('without a name, by this session: it lasts as long as it is open', async () => {
      const file = await openFile(mine, '/a/file');
      const old = await file.locate(0, 1);
      const pending = await file.place([2], 4);
      await unlink(mine.volume, '/a/file');
      expect(await file.refresh()).toBe(false);
      await commit(file, 2);
      await commit(file, 3);
      await file.commit(pending, 3 * UNIT_BYTES);
      expect(await file.refresh()).toBe(false);
      expect(file.sizeBytes).toBe(3 * UNIT_BYTES);
      expect(await file.seeds(1, 3)).toEqual([3, 4]);
      expect((await file.locate(0, 1))[0]?.tag).toEqual(old[0]?.tag);
      expect(await namesIn(theirs.volume, '/a')).not.toContain('file');
      // A new file of that name is none of its business.
      await makeFile(mine, '/a/file', 1, 7);
      await commit(file, 5);
      await expectSeeds(theirs, '/a/file', [7]);
    });

    it('without a name, by another session: it is gone, and its changes can be saved', async () => {
      const file = await openFile(mine, '/a/file');
      const receipts = await file.place([1], 2);
      await unlink(theirs.volume, '/a/file');
      const { version } = file;
      expect(await rejectionCode(file.commit(receipts, 2 * UNIT_BYTES))).toBe('EMISSING');
      expect(await rejectionCode(file.refresh())).toBe('EMISSING');
      await makeFile(theirs, '/a/file', 1, 7);
      expect(await rejectionCode(file.commit(receipts, 2 * UNIT_BYTES))).toBe('EMISSING');
      const sub = { receipts, sizeBytes: 2 * UNIT_BYTES, cutBytes: UNIT_BYTES, ifVersion: version };
      await mine.volume.server.saveAs(file.handle, sub, await mine.volume.place('/saved'));
      await expectSeeds(theirs, '/saved', [1, 2]);
      await expectSeeds(theirs, '/a/file', [7]);
    });

    it('replaced by a rename is gone, too', async () => {
      const file = await openFile(mine, '/a/file');
      const other = await openFile(theirs, '/a/file');
      await makeFile(mine, '/a/new', 1, 7);
      await rename(mine.volume, '/a/new', '/a/file');
      await commit(file, 2);
      expect(await file.seeds(1, 2)).toEqual([2]);
      expect(await rejectionCode(other.refresh())).toBe('EMISSING');
      await expectSeeds(theirs, '/a/file', [7]);
    });
  });
}

describe('an open file that another session moves to another object', () => {
  it('is found by its key, if it is an object', async () => {
    await KINDS['an object']?.();
    await makeObjectFolder(mine.volume, '/c');
    const file = await openFile(mine, '/a/file');
    await rename(theirs.volume, '/a/file', '/c/far');
    await commit(file, 2);
    await expectSeeds(theirs, '/c/far', [1, 2]);
  });

  it('is gone, if it is embedded', async () => {
    await KINDS.embedded?.();
    await makeObjectFolder(mine.volume, '/c');
    const file = await openFile(mine, '/a/file');
    await rename(theirs.volume, '/a/file', '/c/far');
    expect(await rejectionCode(commit(file, 2))).toBe('EMISSING');
    await expectSeeds(theirs, '/c/far', [1]);
  });
});

describe('an open file whose name changes while it is committed', () => {
  it('keeps both changes, whatever the order', async () => {
    await KINDS.embedded?.();
    await makeObjectFolder(mine.volume, '/c');
    for (let seed = 0; seed < 12; seed += 1) {
      const client = await timed.client({ around: inner => jitteryStore(inner, SEED + seed) });
      const [from, to] = seed % 2 === 0 ? ['/a/file', '/c/file'] : ['/c/file', '/a/file'];
      const file = await openFile(client, from);
      const receipts = await file.place([1], 2 + seed);
      await Promise.all([
        rename(client.volume, from, to),
        quiet(3 * seed).then(() => file.commit(receipts, 2 * UNIT_BYTES)),
      ]);
      await expectSeeds(theirs, to, [1, 2 + seed]);
    }
  });

  it('is removed, or committed before: it never fails', async () => {
    for (let seed = 0; seed < 8; seed += 1) {
      const client = await timed.client({ around: inner => jitteryStore(inner, SEED + seed) });
      await makeFile(mine, '/file', 1, 1);
      const file = await openFile(client, '/file');
      const receipts = await file.place([1], 2);
      await Promise.all([
        unlink(client.volume, '/file'),
        quiet(3 * seed).then(() => file.commit(receipts, 2 * UNIT_BYTES)),
      ]);
      expect(await file.seeds(1, 2)).toEqual([2]);
      expect(await namesIn(theirs.volume, '/')).toEqual([]);
    }
  });
});

it('an open file is not taken for lost while this session removes its name', async () => {
  const answers = Promise.withResolvers<void>();
  let isHeld = false;
  const client = await timed.client({
    around: inner =>
      aroundStore(inner, async call => {
        const answer = await call.send();
        if (isHeld && call.operation === 'put' && call.key.startsWith('i/')) await answers.promise;
        return answer;
      }),
  });
  await makeFile(client, '/file', 1, 1);
  const file = await openFile(client, '/file');
  isHeld = true;
  const removing = unlink(client.volume, '/file');
  await quiet();
  expect(await namesIn(theirs.volume, '/')).toEqual([]);
  const asking = file.refresh();
  await quiet();
  answers.resolve();
  await removing;
  expect(await asking).toBe(false);
  expect(await file.seeds(0, 1)).toEqual([1]);
});

describe('an open file of several names', () => {
  it('is followed when it gets a second one, and loses the first', async () => {
    await KINDS.embedded?.();
    await makeObjectFolder(mine.volume, '/c');
    const file = await openFile(mine, '/a/file');
    const target = await mine.volume.place('/c/second');
    await mine.volume.names.link(await mine.volume.place('/a/file'), target.directory, target.name);
    await unlink(mine.volume, '/a/file');
    await commit(file, 2);
    await expectSeeds(theirs, '/c/second', [1, 2]);
    const other = await openFile(theirs, '/c/second');
    await unlink(mine.volume, '/c/second');
    await commit(file, 3);
    expect(await file.seeds(1, 2)).toEqual([3]);
    expect(await rejectionCode(other.refresh())).toBe('EMISSING');
  });
});

describe('an open file without a name', () => {
  it('keeps its content through collections of garbage', async () => {
    await KINDS.embedded?.();
    const file = await openFile(mine, '/a/file');
    await unlink(mine.volume, '/a/file');
    await commit(file, 2);
    for (let hour = 0; hour < 3 * (GRACE_MS / HOUR_MS); hour += 1) {
      timed.wait(HOUR_MS);
      await mine.volume.server.keepYoung();
      if (hour % 5 === 0) await collectGarbage(theirs.volume);
    }
    expect(await file.seeds(1, 2)).toEqual([2]);
  });
});

describe('an open file that another client has made an object', () => {
  /** Opens `/file`, which is embedded, and lets the other client give it a second name in another host. */
  async function linkedElsewhere(): Promise<File> {
    await makeObjectFolder(mine.volume, '/a');
    await makeFile(mine, '/file', 1, 1);
    const file = await openFile(mine, '/file');
    const { directory, name } = await theirs.volume.place('/file');
    const { directory: a } = await theirs.volume.place('/a/other');
    await theirs.volume.names.link({ directory, name }, a, 'other');
    return file;
  }

  it('is found after this session has moved it from its new name to another host', async () => {
    const file = await linkedElsewhere();
    await unlink(theirs.volume, '/a/other');
    await rename(theirs.volume, '/file', '/renamed');
    await rename(mine.volume, '/renamed', '/a/mine');
    await commit(file, 2);
    await expectSeeds(theirs, '/a/mine', [1, 2]);
  });

  it('is found by its other name after this session has removed the one that it was opened by', async () => {
    const file = await linkedElsewhere();
    await unlink(mine.volume, '/file');
    await commit(file, 2);
    await expectSeeds(theirs, '/a/other', [1, 2]);
  });
});
