/** Several processes in the same folders of a volume, some of them killed: nothing that was acknowledged is lost. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createVolumeHeader } from '../../src/keys/unlock.ts';
import { DirectoryStore } from '../../src/server/directory-store.ts';
import { createRoot } from '../../src/volume/root.ts';
import { checkVolumeSettings, encodeSettings } from '../../src/volume/session/volume-settings.ts';
import { IS_LONG, SEED, soakSize } from '../support/soak.ts';
import { type FileStep, type Files, filesAfter } from './process-steps.ts';
import { FOLDER, makeFolder, TestVolume, treeOf } from './support.ts';

const WRITER = fileURLToPath(new URL('fixtures/volume-writer.ts', import.meta.url));
const KEY_BYTE = 7;

let folder: string;
let store: DirectoryStore;
let test: TestVolume;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'netseal-processes-'));
  store = await DirectoryStore.open(join(folder, 'store'), { durability: 'none', create: true });
  const header = await createVolumeHeader({
    slots: [{ label: 'test', secret: { type: 'raw-key', key: new Uint8Array(32).fill(KEY_BYTE) } }],
    settings: encodeSettings(
      checkVolumeSettings({ unitSizeBytes: 4096, keys: SEED % 2 === 0 ? 'flat' : 'hex2' }),
    ),
  });
  writeFileSync(join(folder, 'header'), header.bytes);
  await createRoot(store, header, FOLDER);
  test = new TestVolume(store, header);
  const { volume } = await test.client();
  await makeFolder(volume, '/one');
  await makeFolder(volume, '/two');
});

afterEach(async () => {
  await test.close();
  await store.close();
  rmSync(folder, { recursive: true });
});

interface Writer {
  readonly child: ChildProcess;
  readonly ready: Promise<void>;
  /** What it said, once it has ended. */
  readonly ended: Promise<readonly string[]>;
}

function start(id: string, count: number): Writer {
  const args = [WRITER, join(folder, 'store'), join(folder, 'header'), String(KEY_BYTE), id, String(count)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const ready = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<readonly string[]>();
  let text = '';
  let complaints = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    text += chunk.toString();
    if (text.startsWith('ready\n')) ready.resolve();
  });
  child.stderr?.on('data', (chunk: Buffer) => {
    complaints += chunk.toString();
  });
  child.on('close', (code, signal) => {
    if (code === 0 || signal === 'SIGKILL') ended.resolve(text.split('\n').slice(1, -1));
    else ended.reject(new Error(`writer ${id} ended with ${code}: ${complaints}`));
    ready.resolve();
  });
  return { child, ready: ready.promise, ended: ended.promise };
}

/** What its files may be now. Fails when something went wrong though nobody touched its files. */
function filesOf(lines: readonly string[]): Files[] {
  let possible: Files[] = [new Map()];
  let begun: FileStep | undefined;
  for (const line of lines) {
    const said = JSON.parse(line) as { begin?: FileStep; done?: string; message?: string };
    if (said.begin !== undefined) {
      begun = said.begin;
      continue;
    }
    expect(said.done, said.message).toBe('ok');
    const step = begun;
    if (step !== undefined) possible = possible.map(files => filesAfter(files, step));
    begun = undefined;
  }
  const last = begun;
  return last === undefined ? possible : possible.flatMap(files => [files, filesAfter(files, last)]);
}

/** What a client that has not been here before sees of the files of a process. */
async function seenOf(id: string): Promise<Files> {
  const { volume } = await test.client();
  const tree = await treeOf(volume);
  await volume.close();
  return new Map(
    [...tree].filter(([path]) => path.includes(`/${id}-`)).sort(([left], [right]) => (left < right ? -1 : 1)),
  );
}

function sorted(files: Files): [string, string][] {
  return [...files].sort(([left], [right]) => (left < right ? -1 : 1));
}

describe('processes', () => {
  it.runIf(IS_LONG)('change names in the same folders at once, and lose none', async () => {
    const writers = ['a', 'b', 'c'].map(id => ({ id, writer: start(id, 60) }));
    for (const { id, writer } of writers) {
      const [files] = filesOf(await writer.ended);
      expect(files?.size).toBeGreaterThan(0);
      expect([...(await seenOf(id))]).toEqual(sorted(files ?? new Map()));
    }
  });

  it.runIf(IS_LONG)(
    'are killed at any time: what they were told is there, and what they were doing is done or not',
    async () => {
      const steady = start('steady', 400);
      await steady.ready;
      for (let round = 0; round < soakSize(4, 60); round += 1) {
        const id = `k${round}`;
        const writer = start(id, 100_000);
        await writer.ready;
        await new Promise(resolve => setTimeout(resolve, Math.random() * 150));
        writer.child.kill('SIGKILL');
        const possible = filesOf(await writer.ended).map(sorted);
        expect(possible, `round ${round}`).toContainEqual([...(await seenOf(id))]);
      }
      steady.child.kill('SIGKILL');
      const possible = filesOf(await steady.ended).map(sorted);
      expect(possible).toContainEqual([...(await seenOf('steady'))]);
    },
  );
});
