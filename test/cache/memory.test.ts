import { describe, expect, it } from 'vitest';
import { collect, getUnit, idOf, KIB, MIB, newFolder, openTestCache, unitOf } from './support.ts';

/** A copy that begins at `offsetBytes` of memory with other bytes around it. */
function shared(bytes: Uint8Array, offsetBytes: number): Uint8Array {
  const memory = new Uint8Array(new SharedArrayBuffer(offsetBytes + bytes.byteLength + 7)).fill(0xdd);
  memory.set(bytes, offsetBytes);
  return memory.subarray(offsetBytes, offsetBytes + bytes.byteLength);
}

function own(bytes: Uint8Array, offsetBytes: number): Uint8Array {
  const memory = Buffer.alloc(offsetBytes + bytes.byteLength + 7, 0xdd);
  memory.set(bytes, offsetBytes);
  return memory.subarray(offsetBytes, offsetBytes + bytes.byteLength);
}

const LENGTHS = [72, 73, 4168, 16 * KIB, 16 * KIB + 1, 70_001, 300_000];

describe.each([
  ['shared memory', shared],
  ['memory of its own', own],
])('what lies in %s, at any offset', (_, place) => {
  const unitsAt = (from: number) =>
    LENGTHS.map((lengthBytes, at) => ({
      volumeId: place(idOf(1), at + 1),
      objectId: place(idOf(100), 2 * at + 3),
      index: from + at,
      bytes: place(unitOf(from + at, lengthBytes), 2 * at + 1),
    }));

  it('is put, offered and kept dirty, and is the caller’s again when the call has settled', async () => {
    const folder = newFolder();
    const settings = { budgetBytes: 8 * MIB, zoneBytes: MIB };
    const cache = await openTestCache(folder, settings);
    const volume = cache.volume(place(idOf(1), 5));
    const [put, offered, dirty] = [unitsAt(0), unitsAt(100), unitsAt(200)];
    expect(await volume.put(put)).toBe(LENGTHS.length);
    expect(volume.offer(offered)).toBe(LENGTHS.length);
    for (const { bytes, objectId } of [...put, ...offered]) {
      bytes.fill(0xee);
      objectId.fill(0xee);
    }
    const payload = place(Buffer.from('what to do with it'), 9);
    const appending = cache.appendDirty({ units: dirty, payload });
    // Of a batch only the units' bytes have to hold still.
    payload.fill(0xee);
    for (const { objectId, volumeId } of dirty) {
      objectId.fill(0xee);
      volumeId.fill(0xee);
    }
    const id = await appending;
    for (const { bytes } of dirty) bytes.fill(0xee);
    await cache.flush();
    const check = async (which: typeof cache): Promise<void> => {
      for (const from of [0, 100, 200]) {
        for (const [at, lengthBytes] of LENGTHS.entries())
          expect(await getUnit(which, idOf(1), idOf(100), from + at, unitOf(from + at, lengthBytes))).toBe(
            'hit',
          );
      }
      const [listed] = await collect(which.listDirty());
      expect(listed).toMatchObject({ id });
      expect(Buffer.from(listed?.payload ?? []).toString()).toBe('what to do with it');
      expect(await collect(which.verify())).toEqual([]);
    };
    await check(cache);
    await cache.close();
    await check(await openTestCache(folder, settings));
  });
});
