/** The header in a store: made once, changed by compare-and-swap, whatever answers get lost. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { isNetsealError } from '../../src/base/errors.ts';
import { HEADER_BYTES_MAX } from '../../src/keys/header-format.ts';
import { createVolumeHeader } from '../../src/keys/unlock.ts';
import type { VolumeHeader } from '../../src/keys/volume-header.ts';
import { type FaultKind, type FaultPlan, faultyStore, seededFaults } from '../../src/server/faults.ts';
import { MemoryStore } from '../../src/server/memory-store.ts';
import { HEADER_KEY } from '../../src/server/sealed/object-keys.ts';
import type { ObjectStore } from '../../src/server/store.ts';
import { wrapStore } from '../../src/server/wrap.ts';
import {
  changeHeaderObject,
  createHeaderObject,
  readHeaderObject,
  unlockHeaderObject,
} from '../../src/volume/header-object.ts';
import { checkVolumeSettings, encodeSettings } from '../../src/volume/session/volume-settings.ts';
import { memoryState } from '../../src/volume/state/client-state.ts';
import { codeOf, rawSecret, slotOf } from '../keys/helpers.ts';

const SECRET = rawSecret(1);
const FIXED = { rootId: '1'.repeat(32), marksKey: '2'.repeat(64) };

/** Settings that a number tells from others: log2 of the unit size. */
function settingsOf(unitSizeLog2: number): Uint8Array {
  return encodeSettings(checkVolumeSettings({ ...FIXED, unitSizeBytes: 2 ** unitSizeLog2 }));
}

function newHeader(): Promise<VolumeHeader> {
  return createVolumeHeader({ slots: [slotOf(SECRET)], settings: settingsOf(12) });
}

async function storeWithHeader(): Promise<{ store: MemoryStore; header: VolumeHeader }> {
  const store = new MemoryStore();
  const header = await newHeader();
  await createHeaderObject(store, header);
  return { store, header };
}

async function bytesIn(store: ObjectStore): Promise<Buffer> {
  return Buffer.from((await store.get(HEADER_KEY)).bytes);
}

/** The next put meets a fault of this kind. */
function onPut(kind: FaultKind, times = 1): FaultPlan {
  let left = times;
  return ({ operation }) => {
    if (operation !== 'put' || left === 0) return undefined;
    left -= 1;
    return { kind, delayMs: 0 };
  };
}

async function labels(store: ObjectStore): Promise<string[]> {
  return (await unlockHeaderObject(store, SECRET)).slots.map(({ label }) => label);
}

function adding(fill: number): (header: VolumeHeader) => Promise<VolumeHeader> {
  return header => header.addSlot(slotOf(rawSecret(fill), `slot ${fill}`));
}

describe('making the header', () => {
  it('works once', async () => {
    const { store, header } = await storeWithHeader();
    expect(await bytesIn(store)).toEqual(Buffer.from(header.bytes));
    const other = await newHeader();
    expect(await codeOf(() => createHeaderObject(store, other))).toBe('EEXIST');
    expect(await bytesIn(store)).toEqual(Buffer.from(header.bytes));
  });

  it('settles a lost answer by looking', async () => {
    const header = await newHeader();
    const store = new MemoryStore();
    await createHeaderObject(faultyStore(store, onPut('lost')), header);
    expect(await bytesIn(store)).toEqual(Buffer.from(header.bytes));

    const empty = new MemoryStore();
    const dropped = faultyStore(empty, onPut('dropped'));
    expect(await codeOf(() => createHeaderObject(dropped, header))).toBe('EUNCERTAIN');

    const other = await newHeader();
    const vague = faultyStore(store, onPut('vague'));
    expect(await codeOf(() => createHeaderObject(vague, other))).toBe('EEXIST');
    expect(await bytesIn(store)).toEqual(Buffer.from(header.bytes));
  });

  it('needs a store that can do it', async () => {
    const store = new MemoryStore({ capabilities: { createIfAbsent: 'none' } });
    const header = await newHeader();
    expect(await codeOf(() => createHeaderObject(store, header))).toBe('EUNSUPPORTED');
  });
});

describe('reading the header', () => {
  it('says so when there is no volume', async () => {
    const store = new MemoryStore({ name: 'backup' });
    await expect(readHeaderObject(store)).rejects.toMatchObject({
      code: 'ENOENT',
      message: 'no volume in backup; make one with "netseal init"',
    });
    let asked = 0;
    const secrets = async (): Promise<typeof SECRET> => {
      asked += 1;
      return SECRET;
    };
    expect(await codeOf(() => unlockHeaderObject(store, secrets))).toBe('ENOENT');
    expect(asked).toBe(0);
  });

  it('takes one whole header and nothing else', async () => {
    const { store, header } = await storeWithHeader();
    const cases: [string, readonly Uint8Array[]][] = [
      ['ETRUNCATED', [header.bytes.subarray(0, 10)]],
      ['ETRUNCATED', [header.bytes.subarray(0, -1)]],
      ['ETRUNCATED', []],
      ['EFORMAT', [header.bytes, Uint8Array.of(0)]],
      ['EFORMAT', [header.bytes, new Uint8Array(HEADER_BYTES_MAX)]],
      ['EFORMAT', [new Uint8Array(1000)]],
    ];
    for (const [code, parts] of cases) {
      await store.put(HEADER_KEY, parts);
      expect([code, await codeOf(() => readHeaderObject(store))]).toEqual([code, code]);
    }
  });

  it('reads at most 64 KiB', async () => {
    const { store, header } = await storeWithHeader();
    await store.put(HEADER_KEY, [header.bytes, new Uint8Array(4 * HEADER_BYTES_MAX)]);
    let readBytes = 0;
    const inner = store.get.bind(store);
    store.get = async (...args) => {
      const result = await inner(...args);
      readBytes += result.bytes.byteLength;
      return result;
    };
    expect(await codeOf(() => readHeaderObject(store))).toBe('EFORMAT');
    expect(readBytes).toBe(HEADER_BYTES_MAX);
  });
});

describe('unlocking', () => {
  it('remembers what it saw, and refuses what is older', async () => {
    const { store } = await storeWithHeader();
    const state = memoryState();
    const first = await unlockHeaderObject(store, SECRET, state);
    expect(state.pin()).toMatchObject({ volumeId: first.volumeId, generation: 1 });
    const old = await bytesIn(store);
    await changeHeaderObject(store, SECRET, state, adding(2));
    expect(state.pin()).toMatchObject({ generation: 2 });
    await unlockHeaderObject(store, SECRET, state);

    await store.put(HEADER_KEY, [old]);
    expect(await codeOf(() => unlockHeaderObject(store, SECRET, state))).toBe('EROLLBACK');
    expect(await codeOf(() => changeHeaderObject(store, SECRET, state, adding(3)))).toBe('EROLLBACK');
    expect(state.pin()).toMatchObject({ generation: 2 });
    expect(await bytesIn(store)).toEqual(old);
    // Who never saw the newer one cannot know.
    await unlockHeaderObject(store, SECRET, memoryState());
  });

  it('refuses another volume', async () => {
    const { store } = await storeWithHeader();
    const state = memoryState();
    await unlockHeaderObject(store, SECRET, state);
    await store.put(HEADER_KEY, [(await newHeader()).bytes]);
    expect(await codeOf(() => unlockHeaderObject(store, SECRET, state))).toBe('EROLLBACK');
  });

  it('remembers nothing that did not open', async () => {
    const { store } = await storeWithHeader();
    const state = memoryState();
    expect(await codeOf(() => unlockHeaderObject(store, rawSecret(9), state))).toBe('EKEY');
    const forged = await bytesIn(store);
    forged[20]! ^= 1;
    await store.put(HEADER_KEY, [forged]);
    expect(await codeOf(() => unlockHeaderObject(store, SECRET, state))).not.toBe('EROLLBACK');
    expect(state.pin()).toBeUndefined();
  });
});

describe('changing', () => {
  it('goes on top of what others changed meanwhile', async () => {
    const { store } = await storeWithHeader();
    const fills = [2, 3, 4, 5, 6];
    const headers = await Promise.all(
      fills.map(fill => changeHeaderObject(store, SECRET, memoryState(), adding(fill))),
    );
    expect((await labels(store)).sort()).toEqual(['raw-key', ...fills.map(fill => `slot ${fill}`)]);
    expect(headers.map(({ generation }) => generation).sort()).toEqual([2, 3, 4, 5, 6]);
    // Their keyrings are the caller's.
    for (const { keyring } of headers) expect(keyring.epochKey(1).byteLength).toBe(32);
  });

  it('takes nothing that came meanwhile for a rollback', async () => {
    const { store } = await storeWithHeader();
    const state = memoryState();
    await unlockHeaderObject(store, SECRET, state);
    // This one has read the header, and is still at the first secret's slot when the others are done.
    const slow = changeHeaderObject(store, () => others.then(() => SECRET), state, adding(9));
    const others = Promise.all([2, 3].map(fill => changeHeaderObject(store, SECRET, state, adding(fill))));
    expect((await slow).generation).toBe(4);
    expect(state.pin()).toMatchObject({ generation: 4 });
    expect((await labels(store)).sort()).toEqual(['raw-key', 'slot 2', 'slot 3', 'slot 9']);
  });

  it('gives up after eight times, and asks for the secret once', async () => {
    const { store } = await storeWithHeader();
    let changes = 0;
    let asked = 0;
    const secrets = async (): Promise<typeof SECRET> => {
      asked += 1;
      return SECRET;
    };
    const change = async (header: VolumeHeader): Promise<VolumeHeader> => {
      changes += 1;
      // Somebody else is always faster.
      await changeHeaderObject(store, SECRET, undefined, other =>
        other.withSettings(settingsOf(12 + changes)),
      );
      return header.withSettings(settingsOf(24));
    };
    expect(await codeOf(() => changeHeaderObject(store, secrets, memoryState(), change))).toBe('ECONFLICT');
    expect([changes, asked]).toEqual([8, 1]);
    expect((await unlockHeaderObject(store, SECRET)).settings).toEqual(settingsOf(20));
  });

  it('writes nothing when nothing changes or the change fails', async () => {
    const { store } = await storeWithHeader();
    const { version } = await store.stat(HEADER_KEY);
    expect((await changeHeaderObject(store, SECRET, undefined, header => header)).generation).toBe(1);
    const failure = new Error('no');
    let keyring: VolumeHeader['keyring'] | undefined;
    const failing = changeHeaderObject(store, SECRET, undefined, header => {
      keyring = header.keyring;
      throw failure;
    });
    await expect(failing).rejects.toBe(failure);
    expect(await codeOf(() => keyring?.epochKey(1))).toBe('ECLOSED');
    expect((await store.stat(HEADER_KEY)).version).toBe(version);
  });

  it('rekeys, and the state keeps its marks', async () => {
    const { store } = await storeWithHeader();
    const state = memoryState();
    await changeHeaderObject(store, SECRET, state, header => header.rekey(SECRET));
    expect(state.pin()).toMatchObject({ generation: 2, epoch: 2 });
    expect((await unlockHeaderObject(store, SECRET, state)).keyring.epochs).toEqual([1, 2]);
  });

  it.each(['lost', 'dropped', 'late'] as const)('settles an answer that was %s', async kind => {
    const { store } = await storeWithHeader();
    await changeHeaderObject(faultyStore(store, onPut(kind)), SECRET, memoryState(), adding(2));
    expect(await labels(store)).toEqual(['raw-key', 'slot 2']);
  });

  it('says that it does not know, when others went on after a lost answer', async () => {
    const { store } = await storeWithHeader();
    const faulty = faultyStore(store, onPut('lost'));
    const inner = faulty.get.bind(faulty);
    let gets = 0;
    faulty.get = async (...args) => {
      gets += 1;
      // Between our change and our look at it.
      if (gets === 2) await changeHeaderObject(store, SECRET, undefined, adding(3));
      return inner(...args);
    };
    expect(await codeOf(() => changeHeaderObject(faulty, SECRET, undefined, adding(2)))).toBe('EUNCERTAIN');
    expect(await labels(store)).toEqual(['raw-key', 'slot 2', 'slot 3']);
  });

  it('is there once if it says so, and not at all if it says so, whatever the store does', async () => {
    const ends: string[] = [];
    for (let seed = 0; seed < 60; seed += 1) {
      const { store } = await storeWithHeader();
      const results = await Promise.all(
        [2, 3, 4].map(async fill => {
          const faults = seededFaults(
            seed * 10 + fill,
            0.4,
            ['refused', 'lost', 'dropped', 'late', 'vague'],
            3,
          );
          const faulty = wrapStore(store, { retry: { pauseMs: 1, attemptsMax: 2 } }, { faults });
          try {
            await changeHeaderObject(faulty, SECRET, memoryState(), adding(fill));
            return 'done';
          } catch (error) {
            return isNetsealError(error) ? error.code : String(error);
          }
        }),
      );
      // Late ones, if any.
      await sleep(5);
      const present = await labels(store);
      for (const [index, end] of results.entries()) {
        const count = present.filter(label => label === `slot ${index + 2}`).length;
        if (end === 'done') expect([seed, index, count]).toEqual([seed, index, 1]);
        else if (end === 'EUNCERTAIN') expect(count).toBeLessThanOrEqual(1);
        else
          expect([seed, end, count]).toEqual([seed, expect.stringMatching(/^(EUNAVAILABLE|ECONFLICT)$/), 0]);
      }
      ends.push(...results);
    }
    // The faults do occur, and are mostly overcome.
    expect(ends.filter(end => end === 'done').length).toBeGreaterThan(90);
    expect(ends.filter(end => end === 'EUNCERTAIN').length).toBeGreaterThan(0);
  });
});
