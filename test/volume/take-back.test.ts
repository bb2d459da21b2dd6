/** A commit that proves to refer to lost objects is taken back, whatever others have seen and done meanwhile. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NetsealError } from '../../src/base/errors.ts';
import type { Volume } from '../../src/volume/volume.ts';
import { deepCheck, GRACE_MS, HOUR_MS, TimedVolume } from './gc-support.ts';
import {
  aroundStore,
  bytesOf,
  codeOf,
  FILE,
  makeFolder,
  namesIn,
  quiet,
  readFile,
  SteppedStore,
  writeFile,
} from './support.ts';

const CONTENT = bytesOf(7, 20_000);

let timed: TimedVolume;

beforeEach(async () => {
  timed = await TimedVolume.create();
});

afterEach(async () => {
  await timed.test.close();
});

/** A client whose commit comes too late. */
interface Late {
  readonly volume: Volume;
  readonly stepped: SteppedStore;
}

async function lateClient(): Promise<Late> {
  const stepped = new SteppedStore(timed.store);
  const { volume } = await timed.client({ around: () => stepped.store });
  return { volume, stepped };
}

/**
 * Begins a commit, lets it wait before its swap of the root until a gc has taken what it wrote, then lets only the
 * swap through. The returned function lets the client go on, and returns the commit's error code.
 *
 * @param keeps the prefix of keys that the gc's store does not delete.
 */
async function commitLate(
  { stepped }: Late,
  work: () => Promise<unknown>,
  keeps = 'none',
): Promise<() => Promise<string>> {
  const isRootPut = (): boolean =>
    stepped.waiting[0]?.operation === 'put' && stepped.waiting[0].key === `i/${timed.test.rootId}`;
  stepped.hold();
  const code = codeOf(work());
  for (;;) {
    await quiet();
    if (isRootPut()) break;
    stepped.step();
  }
  await timed.collect();
  timed.wait(GRACE_MS + HOUR_MS);
  const around = (inner: typeof timed.store): typeof timed.store =>
    aroundStore(inner, async call => {
      const isKept = call.operation === 'delete' && call.key.startsWith(keeps);
      if (isKept) throw new NetsealError('EDENIED', 'nothing is deleted here');
      return await call.send();
    });
  await timed.collect({}, { around });
  stepped.step();
  await quiet();
  return async () => {
    stepped.open();
    return await code;
  };
}

async function otherClient(): Promise<Volume> {
  return (await timed.client()).volume;
}

async function overwrite(volume: Volume, path: string, bytes: Uint8Array): Promise<void> {
  const writer = await volume.openWriter(path);
  await writer.write(bytes, 0);
  await writer.close();
}

describe('a commit that is taken back', () => {
  it('gives a file no version twice: who has read the commit takes nothing for it', async () => {
    const late = await lateClient();
    await writeFile(late.volume, '/file', CONTENT);
    const goOn = await commitLate(late, () => overwrite(late.volume, '/file', bytesOf(8, 20_000)));

    // A rival makes an object of what the commit has left, and has not committed that yet.
    const rival = await lateClient();
    await rival.volume.root.read(0);
    rival.stepped.hold();
    const linked = codeOf(
      rival.volume.names.link({ directory: rival.volume.root, name: 'file' }, rival.volume.root, 'second'),
    );
    for (let puts = 0; puts < 2; ) {
      await quiet();
      if (rival.stepped.waiting[0]?.operation === 'put') puts += 1;
      if (puts < 2) rival.stepped.step();
    }
    const before = await otherClient();
    const { inode: first } = await before.find('/file');

    expect(await goOn()).toBe('EIO');
    const other = await otherClient();
    const { inode: back, entry } = await other.find('/file');
    if (entry === undefined) throw new Error('no such file');
    expect(back.version).toBeGreaterThan(first.version);
    expect(back.dataVersion).toBeGreaterThan(first.dataVersion);
    await other.names.setAttributes(other.root, entry, { mode: 0o600 });
    rival.stepped.open();
    expect(await linked).toBe('ok');
    const volume = await otherClient();
    expect((await volume.find('/file')).inode.mode).toBe(0o600);
    expect(await readFile(volume, '/second')).toEqual(CONTENT);
    expect((await deepCheck(volume)).damages).toEqual([]);
  });

  it('lets nobody write over what came after it', async () => {
    const late = await lateClient();
    await writeFile(late.volume, '/file', CONTENT);
    const goOn = await commitLate(late, () => overwrite(late.volume, '/file', bytesOf(8, 20_000)));
    const rival = await otherClient();
    const writer = await rival.openWriter('/file');
    expect(await goOn()).toBe('EIO');
    await overwrite(await otherClient(), '/file', bytesOf(9, 20_000));
    await writer.write(bytesOf(3, 20_000), 0);
    expect(await codeOf(writer.close())).toBe('ECONFLICT');
    const volume = await otherClient();
    expect(await readFile(volume, '/file')).toEqual(bytesOf(9, 20_000));
    expect((await deepCheck(volume)).damages).toEqual([]);
  });

  /** The late commit promotes `/a/b`, in which it names a file. */
  async function promoteLate(keeps: string): Promise<() => Promise<string>> {
    const late = await lateClient();
    for (const path of ['/a', '/a/b']) await makeFolder(late.volume, path);
    const folder = await late.volume.directory('/a/b');
    await late.volume.names.insert(folder, 'x', late.volume.names.newFile(FILE));
    return await commitLate(late, () => writeFile(late.volume, '/a/b/y', CONTENT), keeps);
  }

  it('embeds a folder again whose object a gc has taken', async () => {
    const goOn = await promoteLate('none');
    expect(await goOn()).toBe('EIO');
    const volume = await otherClient();
    expect((await volume.directory('/a/b')).isEmbedded).toBe(true);
    expect(await namesIn(volume, '/a/b')).toEqual(['x']);
    expect((await deepCheck(volume)).damages).toEqual([]);
    await writeFile(volume, '/a/b/y', CONTENT);
    expect(await readFile(await otherClient(), '/a/b/y')).toEqual(CONTENT);
  });

  it('leaves a folder the object that it has become, with what was in it before', async () => {
    const goOn = await promoteLate('i/');
    const rival = await otherClient();
    const held = await rival.directory('/a/b');
    expect(held.isEmbedded).toBe(false);
    expect(await goOn()).toBe('EIO');
    const volume = await otherClient();
    const folder = await volume.directory('/a/b');
    expect(folder.key).toBe(held.key);
    expect(await namesIn(volume, '/a/b')).toEqual(['x']);
    expect(await namesIn(volume, '/a')).toEqual(['b']);
    expect((await deepCheck(volume)).damages).toEqual([]);
    await rival.names.insert(held, 'z', rival.names.newFile(FILE));
    expect(await namesIn(volume, '/a/b')).toEqual(['x', 'z']);
  });

  it('does not undo what others have changed in an object since', async () => {
    const goOn = await promoteLate('i/');
    const rival = await otherClient();
    const held = await rival.directory('/a/b');
    await rival.names.insert(held, 'z', rival.names.newFile(FILE));
    expect(await goOn()).toBe('EIO');
    const volume = await otherClient();
    expect(await namesIn(volume, '/a/b')).toEqual(['x', 'y', 'z']);
    expect(await codeOf(volume.close())).toBe('ok');
    expect(await codeOf(rival.close())).toBe('ok');
  });
});
