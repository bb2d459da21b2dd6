/** What a client remembers: in memory, and in a folder that processes share. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { randomBytes } from '../../src/base/random.ts';
import { pinOf } from '../../src/keys/pin.ts';
import { createVolumeHeader } from '../../src/keys/unlock.ts';
import type { VolumeHeader } from '../../src/keys/volume-header.ts';
import { attachState } from '../../src/volume/header-object.ts';
import { checkVolumeSettings, encodeSettings } from '../../src/volume/session/volume-settings.ts';
import { type ClientState, memoryState } from '../../src/volume/state/client-state.ts';
import { MARK_BYTES } from '../../src/volume/state/marks.ts';
import { openStateFolder } from '../../src/volume/state/state-folder.ts';
import { codeOf, rawSecret, slotOf } from '../keys/helpers.ts';
import { errorCodeOf } from '../support/errors.ts';
import { IS_LONG } from '../support/soak.ts';
import { hashOf, idOf, MARKS_KEY } from './mark-values.ts';

const WRITER = fileURLToPath(new URL('fixtures/mark-writer.ts', import.meta.url));

let header: VolumeHeader;
let otherVolume: VolumeHeader;
let folder = '';
let states: ClientState[] = [];

beforeAll(async () => {
  header = await createVolumeHeader({ slots: [slotOf(rawSecret(1))] });
  otherVolume = await createVolumeHeader({ slots: [slotOf(rawSecret(1))] });
});

afterAll(() => {
  header.keyring.destroy();
  otherVolume.keyring.destroy();
});

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'netseal-state-'));
});

afterEach(async () => {
  await Promise.all(states.map(state => state.close()));
  states = [];
  await rm(folder, { recursive: true });
});

async function openState(of: VolumeHeader | null = header, name = 'store'): Promise<ClientState> {
  const state = await openStateFolder(folder, name);
  states.push(state);
  if (of !== null) await state.attach(of, MARKS_KEY);
  return state;
}

/** The path of a file below the one store's folder. */
async function pathOf(name: string): Promise<string> {
  const [store = ''] = await readdir(folder);
  return join(folder, store, name);
}

function logPath(): Promise<string> {
  return pathOf(`${header.volumeId}/marks`);
}

async function logRecords(): Promise<number> {
  return (await stat(await logPath())).size / MARK_BYTES;
}

function noteAll(state: ClientState, count: number, version: number): void {
  for (let number = 0; number < count; number += 1) state.marks.note(idOf(number), version, hashOf(version));
}

function startWriter(ids: number, versions: number): ChildProcess {
  const args = [folder, `${folder}.header`, 1, ids, versions].map(String);
  return spawn(process.execPath, [WRITER, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
}

describe.each(['memory', 'folder'])('a state in a %s', kind => {
  const open = async (of?: VolumeHeader): Promise<ClientState> => {
    const state = kind === 'memory' ? memoryState() : await openState(null);
    if (of !== undefined) await state.attach(of, MARKS_KEY);
    return state;
  };

  it('has no pin at first, then the one it was given, and never an older one', async () => {
    const state = await open();
    expect(state.pin()).toBeUndefined();
    const [first, second] = [pinOf(header), pinOf(header.withSettings(Uint8Array.of(1)))];
    await state.savePin(second);
    await state.savePin(first);
    expect(state.pin()).toEqual(second);
    const fork = pinOf(header.withSettings(Uint8Array.of(2)));
    expect(await codeOf(() => state.savePin(fork))).toBe('EROLLBACK');
    expect(state.pin()).toEqual(second);
    await state.savePin(pinOf(otherVolume));
    expect(state.pin()).toEqual(pinOf(otherVolume));
  });

  it('is of one volume', async () => {
    const state = await open(header);
    await state.attach(header.withSettings(Uint8Array.of(1)), MARKS_KEY);
    expect(await codeOf(() => state.attach(otherVolume, MARKS_KEY))).toBe('EINVAL');
  });

  it('can be flushed at once, and closed twice', async () => {
    const state = await open(header);
    noteAll(state, 10, 1);
    await expect(Promise.all([state.flush(), state.flush()])).resolves.toBeDefined();
    await expect(Promise.all([state.close(), state.close()])).resolves.toBeDefined();
  });
});

describe('a state folder', () => {
  it('remembers', async () => {
    const state = await openState();
    await state.savePin(pinOf(header));
    noteAll(state, 3, 7);
    await state.close();
    const again = await openState();
    expect(again.pin()).toEqual(pinOf(header));
    expect(again.marks.size).toBe(3);
    expect(errorCodeOf(() => again.marks.check(idOf(2), 6, hashOf(6)))).toBe('EROLLBACK');
    expect(errorCodeOf(() => again.marks.check(idOf(2), 7, hashOf(6)))).toBe('EFORK');
    // Nothing new, nothing written.
    noteAll(again, 3, 7);
    await again.flush();
    expect(await logRecords()).toBe(3);
  });

  it('is for nobody else, and says whose it is', async () => {
    const state = await openState();
    await state.savePin(pinOf(header));
    noteAll(state, 1, 1);
    await state.flush();
    for (const [path, mode] of [
      ['.', 0o700],
      [header.volumeId, 0o700],
      ['pin.json', 0o600],
      [`${header.volumeId}/marks`, 0o600],
    ] as const) {
      expect([path, (await stat(await pathOf(path))).mode & 0o777]).toEqual([path, mode]);
    }
    expect(JSON.parse(await readFile(await pathOf('pin.json'), 'utf8'))).toMatchObject({ store: 'store' });
  });

  it('keeps stores apart, and volumes', async () => {
    const state = await openState();
    noteAll(state, 3, 7);
    await state.savePin(pinOf(header));
    await state.close();
    const elsewhere = await openState(header, 'another store');
    expect([elsewhere.pin(), elsewhere.marks.size]).toEqual([undefined, 0]);
    const other = await openState(otherVolume);
    expect([other.marks.size, other.marks.damagedCount]).toEqual([0, 0]);
  });

  it('keeps its marks when the volume is rekeyed, and when its first epoch is dropped', async () => {
    const settings = encodeSettings(checkVolumeSettings());
    const first = await createVolumeHeader({ slots: [slotOf(rawSecret(1))], settings });
    const state = await openState(null);
    await attachState(state, first);
    noteAll(state, 3, 7);
    await state.close();
    const rekeyed = await first.rekey(rawSecret(1));
    for (const later of [rekeyed, rekeyed.dropEpochs([1])]) {
      const again = await openState(null);
      await attachState(again, later);
      later.keyring.destroy();
      expect([again.marks.size, again.marks.damagedCount]).toEqual([3, 0]);
      await again.close();
    }
    // Another volume's key opens none of them.
    const stranger = await openState(null);
    await stranger.attach(first, MARKS_KEY);
    expect([stranger.marks.size, stranger.marks.damagedCount]).toEqual([0, 3]);
    first.keyring.destroy();
  });

  it('says when its pin is none', async () => {
    await (await openState(null)).savePin(pinOf(header));
    const path = await pathOf('pin.json');
    const whole = await readFile(path, 'utf8');
    const { generation: _, ...without } = JSON.parse(whole);
    for (const text of ['', whole.slice(0, -5), 'null', '[]', JSON.stringify(without)]) {
      await writeFile(path, text);
      expect([text, await codeOf(() => openState(null))]).toEqual([text, 'EFORMAT']);
    }
  });

  it('has a place for journals of one volume', async () => {
    const state = await openState(null);
    expect(errorCodeOf(() => state.journalPath('upload'))).toBe('EBUG');
    await state.attach(header, MARKS_KEY);
    const path = state.journalPath('upload.1') ?? '';
    await writeFile(path, 'x');
    expect(path).toContain(header.volumeId);
    for (const name of ['', '.', '..', '../x', 'a/b', '.hidden', 'a\0', 'x'.repeat(300)]) {
      expect([name, errorCodeOf(() => state.journalPath(name))]).toEqual([name, 'EINVAL']);
    }
    expect(memoryState().journalPath('upload')).toBeUndefined();
  });
});

describe('the log', () => {
  it('may end within a record, and goes on behind the last whole one', async () => {
    const state = await openState();
    noteAll(state, 3, 1);
    await state.close();
    const path = await logPath();
    const whole = await readFile(path);
    for (const cutBytes of [1, 8, 40, MARK_BYTES - 1]) {
      await writeFile(path, whole);
      await truncate(path, 3 * MARK_BYTES - cutBytes);
      const torn = await openState();
      expect([torn.marks.size, torn.marks.damagedCount]).toEqual([2, 0]);
      torn.marks.note(idOf(8), 1, hashOf(1));
      torn.marks.note(idOf(9), 1, hashOf(1));
      await torn.close();
      const again = await openState();
      expect([again.marks.size, again.marks.damagedCount]).toEqual([4, 0]);
      expect(again.marks.get(idOf(9))).toEqual({ version: 1, hash: hashOf(1) });
    }
  });

  it('loses what is damaged, says so once, and nothing else', async () => {
    const state = await openState();
    noteAll(state, 5, 3);
    await state.close();
    const bytes = await readFile(await logPath());
    // A record raised to a version that was never seen, and what a power cut may leave.
    bytes[2 * MARK_BYTES + 16] = 200;
    bytes.fill(0, 4 * MARK_BYTES);
    await writeFile(await logPath(), bytes);
    const damaged = await openState();
    expect([damaged.marks.size, damaged.marks.damagedCount]).toEqual([3, 2]);
    expect([damaged.marks.get(idOf(2)), damaged.marks.get(idOf(4))]).toEqual([undefined, undefined]);
    noteAll(damaged, 3, 4);
    await damaged.close();
    const again = await openState();
    expect([again.marks.size, again.marks.damagedCount]).toEqual([4, 0]);
    expect(await logRecords()).toBe(4);
  });

  it('stays below twice what it needs', async () => {
    const state = await openState();
    for (let version = 1; version <= 20; version += 1) {
      noteAll(state, 300, version);
      await state.flush();
      expect(await logRecords()).toBeLessThanOrEqual(600);
    }
    expect((await readdir(await pathOf(header.volumeId))).sort()).toEqual(['heads.json', 'marks']);
    const again = await openState();
    expect([again.marks.size, again.marks.get(idOf(299))?.version]).toEqual([300, 20]);
  });

  it('survives what a crash leaves behind', async () => {
    const state = await openState();
    await state.savePin(pinOf(header));
    noteAll(state, 300, 1);
    await state.flush();
    await writeFile(await pathOf(`${header.volumeId}/marks.new`), randomBytes(1000));
    await writeFile(await pathOf('pin.json.new'), '{');
    for (const version of [2, 3]) {
      noteAll(state, 300, version);
      await state.flush();
    }
    await state.savePin(pinOf(header.withSettings(Uint8Array.of(1))));
    const again = await openState();
    expect(again.pin()?.generation).toBe(2);
    expect([again.marks.size, again.marks.get(idOf(1))?.version, again.marks.damagedCount]).toEqual([
      300, 3, 0,
    ]);
  });

  it('tells two that are open at once of each other when they write', async () => {
    const [left, right] = [await openState(), await openState()];
    noteAll(left, 300, 1);
    await left.flush();
    expect(right.marks.size).toBe(0);
    right.marks.note(idOf(1000), 1, hashOf(1));
    await right.flush();
    expect(right.marks.size).toBe(301);
    expect(errorCodeOf(() => right.marks.check(idOf(0), 1, hashOf(2)))).toBe('EFORK');
    // One replaces the log while the other has it open.
    for (const version of [2, 3]) {
      noteAll(left, 300, version);
      await left.flush();
    }
    expect(await logRecords()).toBeLessThan(600);
    right.marks.note(idOf(1001), 1, hashOf(1));
    await right.flush();
    left.marks.note(idOf(1002), 1, hashOf(1));
    await left.flush();
    const all = await openState();
    expect([all.marks.size, all.marks.get(idOf(5))?.version]).toEqual([303, 3]);
  });

  it('does not hide that two saw different histories', async () => {
    const [left, right] = [await openState(), await openState()];
    left.marks.note(idOf(1), 5, hashOf(1));
    right.marks.note(idOf(1), 5, hashOf(2));
    await left.close();
    await right.close();
    const again = await openState();
    for (const number of [1, 2]) {
      expect(errorCodeOf(() => again.marks.check(idOf(1), 5, hashOf(number)))).toBe('EFORK');
    }
    again.marks.check(idOf(1), 6, hashOf(6));
  });

  it.runIf(IS_LONG)('is shared by processes, and by those that are killed', async () => {
    await writeFile(`${folder}.header`, header.bytes);
    try {
      const writers = Array.from({ length: 4 }, () => startWriter(300, 12));
      const victims = Array.from({ length: 3 }, () => startWriter(300, 1000));
      const ends = writers.map(child => once(child, 'exit'));
      await Promise.all(
        victims.map(async (child, index) => {
          const end = once(child, 'exit');
          if (child.stdout !== null) await once(child.stdout, 'data');
          setTimeout(() => child.kill('SIGKILL'), 30 + 40 * index);
          expect(await end).toEqual([null, 'SIGKILL']);
        }),
      );
      expect(await Promise.all(ends)).toEqual(writers.map(() => [0, null]));
      const state = await openState();
      expect([state.marks.size, state.marks.damagedCount]).toEqual([300, 0]);
      for (const [, { version, hash }] of state.marks.entries()) {
        expect(version).toBeGreaterThanOrEqual(12);
        expect(hash).toBe(hashOf(version));
      }
      // And it can still be written.
      noteAll(state, 300, 2000);
      await state.flush();
    } finally {
      await rm(`${folder}.header`);
    }
  });

  it('ignores what is appended by who does not have the key', async () => {
    const state = await openState();
    noteAll(state, 1, 1);
    await state.close();
    await appendFile(await logPath(), randomBytes(2 * MARK_BYTES));
    const again = await openState();
    expect([again.marks.size, again.marks.damagedCount]).toEqual([1, 2]);
  });
});
