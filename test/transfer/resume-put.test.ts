/** Journals of large files: what they hold is not sent again, and they promise nothing that is not so. */
import * as fs from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { KIB, MIB } from '../../src/base/geometry.ts';
import type { ClientState } from '../../src/volume/state/client-state.ts';
import { openStateFolder } from '../../src/volume/state/state-folder.ts';
import { IS_LONG } from '../support/soak.ts';
import {
  aroundStore,
  bytesOf,
  type Client,
  type ClientOptions,
  codeOf,
  DyingStore,
  TestVolume,
} from '../volume/support.ts';
import { comparable, failuresOf, getTree, lookAtTree, openDescriptors, putTree } from './copy-support.ts';
import { makeFolder, removeFolder } from './local-support.ts';

const HALF_DAY_MS = 12 * 60 * 60 * 1000;

let folder = '';
let volume: TestVolume;
const states: ClientState[] = [];

beforeEach(async () => {
  folder = makeFolder();
  volume = await TestVolume.create({ unitSizeBytes: 64 * KIB });
});

afterEach(async () => {
  await volume.close();
  for (const state of states.splice(0)) await state.close();
  removeFolder(folder);
});

const at = (...names: string[]): string => join(folder, ...names);

/** A client with journals, the same ones each time. */
async function withState(options: ClientOptions = {}): Promise<Client> {
  const state = await openStateFolder(at('state'), 'test');
  states.push(state);
  return await volume.client({ ...options, state });
}

function journals(): string[] {
  return fs
    .readdirSync(at('state'), { recursive: true, encoding: 'utf8' })
    .filter(name => /journals\/put-/.test(name))
    .map(name => at('state', name));
}

/** 96 MiB, a part of it holes: at the start, between data, at the end. */
function makeSparse(path: string): void {
  const fd = fs.openSync(path, 'w');
  fs.ftruncateSync(fd, 96 * MIB + 5);
  const data = bytesOf(5, 9 * MIB + 77);
  for (const offset of [3 * MIB + 5, 20 * MIB, 36 * MIB, 37 * MIB, 60 * MIB, 75 * MIB]) {
    fs.writeSync(fd, data, 0, data.byteLength, offset);
  }
  fs.closeSync(fd);
}

/** Puts until the store dies after so many requests. */
async function interrupted(requests: number, path = at('large')): Promise<void> {
  let dying: DyingStore | undefined;
  const client = await withState({
    around: store => {
      dying = new DyingStore(store);
      return dying.store;
    },
  });
  await client.volume.root.read();
  dying?.dieAfter(requests);
  expect(await codeOf(putTree(client.volume, path, '/large', { state: client.state }))).toBe('EDENIED');
}

async function sentBy(client: Client, path = at('large')): Promise<number> {
  const before = client.meter.snapshot().put.sentBytes;
  expect(failuresOf(await putTree(client.volume, path, '/large', { state: client.state }))).toEqual([]);
  return client.meter.snapshot().put.sentBytes - before;
}

async function expectRound(client: Client): Promise<void> {
  fs.rmSync(at('out'), { force: true });
  await getTree(client.volume, '/large', at('out'));
  expect(comparable(lookAtTree(at('out')))).toEqual(comparable(lookAtTree(at('large'))));
}

describe('a large file whose put was interrupted', () => {
  it.runIf(IS_LONG)('goes on where it was, holes and all, and leaves no journal', async () => {
    makeSparse(at('large'));
    const whole = await sentBy(await volume.client());
    await removeLarge();
    await interrupted(5);
    expect(openCopies()).toEqual([]);
    expect(journals()).toHaveLength(1);
    // Again, from there on.
    await interrupted(9);
    const client = await withState();
    expect(await sentBy(client)).toBeLessThan(whole - 16 * MIB);
    expect(journals()).toEqual([]);
    expect(openCopies()).toEqual([]);
    await expectRound(client);
  });

  it.runIf(IS_LONG)(
    'starts over when it was changed, when a segment is gone, and when its journal is old or damaged',
    async () => {
      makeSparse(at('large'));
      const whole = await sentBy(await volume.client());
      await removeLarge();
      const startsOver = async (options: ClientOptions = {}): Promise<void> => {
        const client = await withState(options);
        expect(await sentBy(client)).toBeGreaterThan(whole - MIB);
        await expectRound(client);
        await removeLarge();
      };
      await interrupted(5);
      fs.writeFileSync(journals()[0] ?? '', Buffer.alloc(10_000, 7));
      await startsOver();

      await interrupted(5);
      // Nothing else is in the volume.
      const { entries } = await volume.store.list({ prefix: 's/', limit: 1000 });
      for (const { key } of entries) await volume.store.delete(key);
      await startsOver();

      await interrupted(5);
      await startsOver({ nowMs: () => Date.now() + HALF_DAY_MS + 60_000 });

      fs.rmSync(at('state'), { recursive: true });
      await interrupted(5);
      fs.utimesSync(at('large'), 5, 5);
      await startsOver();
      // That of the file as it was is left, until it is of no use to anybody.
      expect(journals()).toHaveLength(1);
      for (const path of journals()) fs.utimesSync(path, 5, 5);
      await interrupted(5);
      expect(journals().map(path => fs.statSync(path).mtimeMs > 10_000)).toEqual([true]);
    },
  );

  it.runIf(IS_LONG)(
    'does not become the file that an earlier put made of it, wherever that is now',
    async () => {
      makeSparse(at('large'));
      const whole = await sentBy(await volume.client());
      await removeLarge();
      // Killed between its commit and its end: the journal is still there.
      let path = '';
      let journal = Buffer.alloc(0);
      let isTaken = false;
      const client = await withState({
        around: store =>
          aroundStore(store, async call => {
            path = journals()[0] ?? path;
            if (fs.existsSync(path) && !isTaken) journal = fs.readFileSync(path);
            return await call.send();
          }),
      });
      await sentBy(client);
      isTaken = true;
      fs.writeFileSync(path, journal);
      const { names, root } = client.volume;
      await names.rename({ directory: root, name: 'large' }, { directory: root, name: 'moved' });
      const { inode: moved } = await client.volume.find('/moved');
      expect(await sentBy(client)).toBeLessThan(whole / 2);
      const { inode } = await client.volume.find('/large');
      expect(inode.id).not.toBe(moved.id);
      await expectRound(client);
      const writer = await client.volume.openWriter('/moved');
      await writer.write(Buffer.from('changed in the volume'));
      await writer.close();
      await expectRound(client);
      // One that is of no use is removed when the file turns out to be unchanged.
      fs.writeFileSync(path, journal);
      await sentBy(client);
      expect(journals()).toEqual([]);
    },
  );
});

/** Descriptors but for those of the state itself. */
function openCopies(): string[] {
  return openDescriptors().filter(path => !/\/(marks|lock)$/.test(path));
}

async function removeLarge(): Promise<void> {
  const { volume: mounted } = await volume.client();
  await mounted.names.unlink(mounted.root, 'large');
}
