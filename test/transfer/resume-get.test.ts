/** A get of a large file that was interrupted goes on where it was, with what was verified; anything doubtful begins anew. */
import * as fs from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MIB } from '../../src/base/geometry.ts';
import type { Name } from '../../src/base/name.ts';
import { get } from '../../src/transfer/get.ts';
import { Tally } from '../../src/transfer/tally.ts';
import type { ClientState } from '../../src/volume/state/client-state.ts';
import { openStateFolder } from '../../src/volume/state/state-folder.ts';
import { IS_LONG } from '../support/soak.ts';
import { bytesOf, type Client, TestVolume } from '../volume/support.ts';
import { makeFolder, removeFolder } from './local-support.ts';

const SIZE_BYTES = 66 * MIB + 17;
const STOP_BYTES = 40 * MIB;

let folder = '';
let volume: TestVolume;
let client: Client;
let state: ClientState;
let content: Buffer;

beforeEach(async () => {
  folder = makeFolder();
  volume = await TestVolume.create({ unitSizeBytes: 256 * 1024 });
  state = await openStateFolder(at('state'), 'test');
  client = await volume.client({ state });
  content = bytesOf(3, SIZE_BYTES);
  await write(content);
  fs.mkdirSync(at('to'));
});

afterEach(async () => {
  await volume.close();
  await state.close();
  removeFolder(folder);
});

const at = (...names: string[]): string => join(folder, ...names);
const partials = (): string[] => fs.readdirSync(at('to')).filter(name => name.endsWith('.partial'));

async function write(bytes: Uint8Array): Promise<void> {
  const attributes = { mode: 0o644, uid: 0, gid: 0, mtimeNs: 5n, xattrs: [] };
  const writer = await client.volume.createFile('/f', attributes, { replace: true });
  await writer.write(bytes);
  // A hole, so that places in the file and its length differ.
  await writer.truncate(SIZE_BYTES + 4 * MIB);
  await writer.close();
}

interface Got {
  readonly resumedBytes: number | undefined;
  readonly receivedBytes: number;
  readonly error: unknown;
}

/** Gets the file, and stops after so many bytes. */
async function getFile(stopBytes = Number.POSITIVE_INFINITY): Promise<Got> {
  const stop = new AbortController();
  let resumedBytes: number | undefined;
  const tally = new Tally({
    onProgress: ({ bytes }) => {
      if (bytes >= stopBytes) stop.abort(new Error('stopped'));
    },
    onResumed: (_: Name, doneBytes) => {
      resumedBytes = doneBytes;
    },
  });
  const before = client.meter.snapshot().get.receivedBytes;
  const options = { state, signal: stop.signal };
  const error = await get(client.volume, ['/f'], at('to', 'f'), tally, options).catch((why: unknown) => why);
  expect(tally.failures).toEqual([]);
  return { resumedBytes, error, receivedBytes: client.meter.snapshot().get.receivedBytes - before };
}

function expectWhole(bytes: Uint8Array): void {
  const got = fs.readFileSync(at('to', 'f'));
  expect(got.byteLength).toBe(SIZE_BYTES + 4 * MIB);
  expect(got.subarray(0, SIZE_BYTES).equals(bytes)).toBe(true);
  expect(got.subarray(SIZE_BYTES).every(byte => byte === 0)).toBe(true);
  expect(partials()).toEqual([]);
}

describe('a get of a large file that was interrupted', () => {
  beforeEach(async () => {
    expect((await getFile(STOP_BYTES)).error).toEqual(new Error('stopped'));
    expect(partials()).toHaveLength(1);
    expect(fs.statSync(at('to', partials()[0] ?? '')).mode & 0o777).toBe(0o600);
  });

  it('goes on where it was', async () => {
    const { resumedBytes, receivedBytes } = await getFile();
    expect(resumedBytes).toBeGreaterThanOrEqual(STOP_BYTES - 16 * MIB);
    expect(receivedBytes).toBeLessThan(SIZE_BYTES - STOP_BYTES + 18 * MIB);
    expectWhole(content);
    expect(fs.statSync(at('to', 'f')).mode & 0o777).toBe(0o644);
  });

  it.runIf(IS_LONG)('goes on more than once', async () => {
    const { resumedBytes = 0 } = await getFile(STOP_BYTES + 20 * MIB);
    expect((await getFile()).resumedBytes).toBeGreaterThan(resumedBytes);
    expectWhole(content);
  });

  it('begins anew when the file was changed, and leaves nothing of the old one', async () => {
    const other = bytesOf(4, SIZE_BYTES);
    await write(other);
    expect((await getFile()).resumedBytes).toBe(undefined);
    expectWhole(other);
  });

  it.runIf(IS_LONG).each<[string, (path: string) => void]>([
    ['may be read by others', path => fs.chmodSync(path, 0o644)],
    ['has another name', path => fs.linkSync(path, at('another'))],
    ['was cut', path => fs.truncateSync(path, 5 * MIB)],
    ['was replaced', path => fs.renameSync(at('copy'), path)],
  ])('begins anew when the unfinished file %s', async (_, change) => {
    const path = at('to', partials()[0] ?? '');
    fs.copyFileSync(path, at('copy'));
    change(path);
    expect((await getFile()).resumedBytes).toBe(undefined);
    const got = fs.readFileSync(at('to', 'f'));
    expect(got.subarray(0, SIZE_BYTES).equals(content)).toBe(true);
  });

  it.runIf(IS_LONG)('begins anew when the journal was changed', async () => {
    const [journal = ''] = fs
      .readdirSync(at('state'), { recursive: true, encoding: 'utf8' })
      .filter(name => name.includes('/get-'));
    const bytes = fs.readFileSync(at('state', journal));
    bytes[100] = (bytes[100] ?? 0) ^ 1;
    fs.writeFileSync(at('state', journal), bytes);
    expect((await getFile()).resumedBytes).toBe(undefined);
    expect(fs.readFileSync(at('to', 'f')).subarray(0, SIZE_BYTES).equals(content)).toBe(true);
  });
});
