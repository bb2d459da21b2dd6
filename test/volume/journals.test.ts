/** What a journal of a put or a get notes, the next one finds: as far as it could be written, and nothing else. */
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { randomId } from '../../src/base/ids.ts';
import { createVolumeHeader } from '../../src/keys/unlock.ts';
import { MemoryStore } from '../../src/server/memory-store.ts';
import { segmentKey } from '../../src/server/sealed/object-keys.ts';
import { createRoot } from '../../src/volume/root.ts';
import { checkVolumeSettings, encodeSettings } from '../../src/volume/session/volume-settings.ts';
import type { ClientState } from '../../src/volume/state/client-state.ts';
import type { JournalItem } from '../../src/volume/state/put-journal.ts';
import { openStateFolder } from '../../src/volume/state/state-folder.ts';
import { rawSecret } from '../keys/helpers.ts';
import { counts, ids, names, pointers } from '../server/sealed/arbitraries.ts';
import { errorCodeOf } from '../support/errors.ts';
import { checkAsyncProperty } from '../support/property.ts';
import { wild } from '../support/wild.ts';
import { type Client, FOLDER, TestVolume } from './support.ts';

let folder = '';
let test: TestVolume;
let client: Client;
let state: ClientState;

beforeEach(async () => {
  folder = fs.mkdtempSync(join(tmpdir(), 'netseal-journals-'));
  test = await TestVolume.create();
  state = await openStateFolder(folder, 'store');
  client = await test.client({ state });
});

afterEach(async () => {
  await test.close();
  await state.close();
  fs.rmSync(folder, { recursive: true });
});

const SOURCE = { device: 1, inode: 2n, sizeBytes: 3, mtimeNs: 4n, ctimeNs: 5n };

describe('the journal of a put', () => {
  const batches: fc.Arbitrary<JournalItem[][]> = fc.array(
    fc.array(fc.oneof(pointers, fc.integer({ min: 1, max: 2 ** 40 })), { minLength: 1, maxLength: 8 }),
    { minLength: 1, maxLength: 5 },
  );

  /** Notes the batches, and returns what the next put finds of them. */
  async function noteAndFind(noted: readonly (readonly JournalItem[])[]): Promise<unknown[]> {
    const place = { directory: randomId(), name: 'file', unitSizeBytes: 4096 };
    const opened = await client.volume.openPutJournal(state, place, SOURCE, randomId());
    if (opened === undefined) expect.fail('no journal');
    for (const items of noted) opened.journal.append(items);
    await opened.journal.close();
    const again = await client.volume.openPutJournal(state, place, SOURCE, randomId());
    const found = [...(again?.resumed?.items() ?? [])];
    await again?.journal.remove();
    return found;
  }

  /** A journal is used only if the segments that it names are in the store. */
  async function storeSegments(noted: readonly (readonly JournalItem[])[]): Promise<void> {
    for (const item of noted.flat()) {
      if (typeof item !== 'number') await test.store.put(segmentKey(item.segment), [new Uint8Array(1)]);
    }
  }

  it('gives back every item', async () => {
    await checkAsyncProperty(batches, async noted => {
      await storeSegments(noted);
      expect(await noteAndFind(noted)).toEqual(noted);
    });
  });

  it('is not used after a rekey: the units that it names are sealed under the old key', async () => {
    const secret = rawSecret(3);
    const settings = encodeSettings(checkVolumeSettings({ unitSizeBytes: 4096 }));
    const header = await createVolumeHeader({ slots: [{ label: 'test', secret }], settings });
    const rekeyed = await header.rekey(secret);
    const store = new MemoryStore();
    await createRoot(store, header, FOLDER);
    const volumes = new TestVolume(store, header);
    const memory = await openStateFolder(folder, 'another store');
    const place = { directory: randomId(), name: 'file', unitSizeBytes: 4096 };
    const found: unknown[] = [];
    for (const keys of [header, header, rekeyed]) {
      const { volume } = await volumes.client({ state: memory, header: keys });
      const opened = await volume.openPutJournal(memory, place, SOURCE, randomId());
      found.push([...(opened?.resumed?.items() ?? [])]);
      opened?.journal.append([5]);
      await opened?.journal.close();
      await volume.close();
    }
    expect(found).toEqual([[], [[5]], []]);
    await memory.close();
  });

  it('ends before the first record with a number that no item can have', async () => {
    await checkAsyncProperty(wild(batches), async noted => {
      await storeSegments(noted);
      const found = await noteAndFind(noted);
      expect(found).toEqual(noted.slice(0, found.length));
    });
  });
});

describe.runIf(fs.existsSync('/proc/sys/kernel/random/boot_id'))('the journal of a get', () => {
  it('gives back what was noted last', async () => {
    const notes = fc.record({
      name: names,
      device: counts(),
      inode: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      doneBytes: counts(),
      endBytes: counts(),
    });
    const values = fc.record({
      id: ids,
      dataVersion: counts(),
      sizeBytes: counts(),
      notes: fc.array(notes, { minLength: 1, maxLength: 4 }),
    });
    await checkAsyncProperty(values, async ({ notes: noted, ...source }) => {
      const target = { device: 1, inode: 2n, name: randomId() };
      const opened = client.volume.openGetJournal(state, target, source);
      for (const { doneBytes, endBytes, ...unfinished } of noted) {
        opened?.journal.note(unfinished, doneBytes, endBytes);
      }
      opened?.journal.close();
      const { doneBytes, endBytes, ...unfinished } = noted.at(-1) ?? expect.fail('no note');
      const again = client.volume.openGetJournal(state, target, source);
      expect(again?.begun).toEqual({ unfinished, doneBytes, endBytes, isSame: true });
      const other = { ...source, dataVersion: source.dataVersion + 1 };
      expect(client.volume.openGetJournal(state, target, other)?.begun?.isSame).toBe(false);
      again?.journal.remove();
    });
  });

  it('notes no place that its file cannot have', () => {
    const source = { id: randomId(), dataVersion: 1, sizeBytes: 5 };
    const opened = client.volume.openGetJournal(state, { device: 1, inode: 2n, name: 'x' }, source);
    const unfinished = { name: 'y', device: 1, inode: 3n };
    for (const wrong of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
      expect(errorCodeOf(() => opened?.journal.note(unfinished, wrong, 0))).toBe('EINVAL');
      expect(errorCodeOf(() => opened?.journal.note(unfinished, 0, wrong))).toBe('EINVAL');
    }
    opened?.journal.close();
  });
});
