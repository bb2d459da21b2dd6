/** Files: any writes against a buffer, holes, sizes, damage, and others' changes. */
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { seededChance } from '../../src/base/chance.ts';
import { openPipeline } from '../../src/pipeline/pipeline.ts';
import type { FileInode } from '../../src/server/sealed/inode.ts';
import { segmentKey } from '../../src/server/sealed/object-keys.ts';
import type { Volume } from '../../src/volume/volume.ts';
import { checkAsyncProperty } from '../support/property.ts';
import { IS_LONG, SEED } from '../support/soak.ts';
import { bytesOf, codeOf, FILE, readFile, TestVolume, writeFile } from './support.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
let test: TestVolume;

afterEach(() => test.close());

async function openVolume(unitSizeBytes = 4 * KIB): Promise<Volume> {
  test = await TestVolume.create({ unitSizeBytes });
  return (await test.client()).volume;
}

async function fileAt(volume: Volume, path: string): Promise<FileInode> {
  return (await volume.openFile(path)).inode;
}

/** What a file should hold. */
class Twin {
  bytes = Buffer.alloc(0);

  write(data: Uint8Array, offset: number): void {
    const size = Math.max(this.bytes.byteLength, offset + data.byteLength);
    const next = Buffer.alloc(size);
    this.bytes.copy(next);
    next.set(data, offset);
    this.bytes = next;
  }

  truncate(size: number): void {
    const next = Buffer.alloc(size);
    this.bytes.copy(next, 0, 0, Math.min(size, this.bytes.byteLength));
    this.bytes = next;
  }
}

type Step =
  | { readonly kind: 'write'; readonly at: number; readonly length: number; readonly fill: number }
  | { readonly kind: 'truncate'; readonly size: number }
  | { readonly kind: 'commit' }
  | { readonly kind: 'reopen' };

/** In shares of the unit size, near its multiples more often than not. */
const places = fc.oneof(
  fc.double({ min: 0, max: 12, noNaN: true }),
  fc
    .tuple(fc.integer({ min: 0, max: 12 }), fc.constantFrom(-1e-3, 0, 1e-3))
    .map(([whole, off]) => Math.max(0, whole + off)),
);
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant('write' as const),
        at: places,
        length: fc.oneof(
          places.map(x => x / 6),
          fc.constantFrom(1, 2),
        ),
        fill: fc.integer({ min: 0, max: 3 }),
      }),
    },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('truncate' as const), size: places }) },
    { weight: 2, arbitrary: fc.constant({ kind: 'commit' as const }) },
    { weight: 1, arbitrary: fc.constant({ kind: 'reopen' as const }) },
  ),
  { minLength: 1, maxLength: 14 },
);

/** Zeros, text, or noise. */
function dataOf(fill: number, length: number): Buffer {
  if (fill === 0) return Buffer.alloc(length);
  return fill === 1 ? Buffer.alloc(length, 'netseal ') : bytesOf(length * 7 + fill, length);
}

/** Writes a new file, and what it should hold. */
async function carryOut(
  volume: Volume,
  path: string,
  list: readonly Step[],
  unitSizeBytes: number,
): Promise<Twin> {
  let writer = await volume.createFile(path, FILE);
  const twin = new Twin();
  for (const step of list) {
    if (step.kind === 'write') {
      const data = dataOf(step.fill, Math.floor(step.length * unitSizeBytes));
      const at = Math.floor(step.at * unitSizeBytes);
      await writer.write(data, at);
      if (data.byteLength > 0) twin.write(data, at);
    } else if (step.kind === 'truncate') {
      await writer.truncate(Math.floor(step.size * unitSizeBytes));
      twin.truncate(Math.floor(step.size * unitSizeBytes));
    } else {
      await writer.commit();
      if (step.kind === 'reopen') writer = await volume.openWriter(path);
    }
    expect(writer.sizeBytes).toBe(twin.bytes.byteLength);
  }
  await writer.close();
  return twin;
}

describe('any writes', () => {
  for (const unitSizeBytes of [4 * KIB, 64 * KIB, MIB]) {
    it(`read back as they were written, units of ${unitSizeBytes / KIB} KiB (S59, S17, S19)`, async () => {
      const volume = await openVolume(unitSizeBytes);
      let count = 0;
      await checkAsyncProperty(
        steps,
        async list => {
          count += 1;
          const path = `/file-${count}`;
          const twin = await carryOut(volume, path, list, unitSizeBytes);
          const reader = await volume.openFile(path);
          expect(reader.sizeBytes).toBe(twin.bytes.byteLength);
          const back = Buffer.alloc(twin.bytes.byteLength + 10, 7);
          expect(await reader.read(back, 0)).toBe(twin.bytes.byteLength);
          expect(back.subarray(0, twin.bytes.byteLength).equals(twin.bytes)).toBe(true);
          const part = Buffer.alloc(Math.floor(twin.bytes.byteLength / 3));
          const from = Math.floor(twin.bytes.byteLength / 2);
          const got = await reader.read(part, from);
          expect(part.subarray(0, got).equals(twin.bytes.subarray(from, from + got))).toBe(true);
          // What is stored is what is counted.
          const { inode } = reader;
          if (inode.map.depth === 0) {
            const stored = inode.map.slots.reduce((sum, { pointer }) => sum + pointer.lengthBytes, 0);
            expect(inode.storedBytes).toBe(stored);
          }
        },
        5,
      );
    });
  }

  it.runIf(IS_LONG)(
    'keep a large file right when many units change out of order, with map pages',
    async () => {
      const volume = await openVolume();
      const chance = seededChance(SEED);
      const sizeBytes = 6 * MIB;
      const twin = Buffer.from(bytesOf(SEED, sizeBytes));
      const writer = await volume.createFile('/large', FILE);
      await writer.write(twin);
      await writer.commit();
      expect(writer.inode.map.depth).toBe(1);
      for (let write = 0; write < 60; write += 1) {
        const data = bytesOf(write, Math.floor(chance() * 9000));
        const at = Math.floor(chance() * (sizeBytes - 9000));
        await writer.write(data, at);
        twin.set(data, at);
      }
      await writer.close();
      expect((await readFile(volume, '/large')).equals(twin)).toBe(true);
      const shorter = await volume.openWriter('/large');
      await shorter.truncate(3 * MIB + 17);
      await shorter.close();
      const back = await readFile(volume, '/large');
      expect(back.equals(twin.subarray(0, 3 * MIB + 17))).toBe(true);
    },
  );

  it('hold more changes than are kept in memory', async () => {
    const volume = await openVolume();
    const writer = await volume.createFile('/many', FILE);
    // 5,000 units and as many holes.
    for (let unit = 0; unit < 5000; unit += 1) await writer.write(Buffer.from([unit % 251, 1]), unit * 8192);
    await writer.close();
    const reader = await volume.openFile('/many');
    const bytes = Buffer.alloc(reader.sizeBytes);
    await reader.read(bytes, 0);
    for (let unit = 0; unit < 5000; unit += 1) {
      expect(bytes[unit * 8192]).toBe(unit % 251);
      expect(bytes[unit * 8192 + 4096] ?? 0).toBe(0);
    }
  });

  it('that queue up go to where the one before ended', async () => {
    const volume = await openVolume();
    const writer = await volume.createFile('/log', FILE);
    await Promise.all(Array.from({ length: 100 }, (_, at) => writer.write(Buffer.from(`${at};`))));
    await writer.close();
    const text = Array.from({ length: 100 }, (_, at) => `${at};`).join('');
    expect((await readFile(volume, '/log')).toString()).toBe(text);
  });
});

describe('content', () => {
  it('S58: incompressible data is stored raw, no larger than plain plus its header', async () => {
    const volume = await openVolume(64 * KIB);
    await writeFile(volume, '/noise', bytesOf(1, 10 * 64 * KIB));
    const { storedBytes, map } = await fileAt(volume, '/noise');
    expect(storedBytes).toBe(10 * (64 * KIB + 72));
    expect(map.slots.length).toBe(10);
  });

  it('S55: zeros are holes, and take nothing', async () => {
    const volume = await openVolume(64 * KIB);
    await writeFile(volume, '/zeros', Buffer.alloc(5 * MIB));
    expect(await fileAt(volume, '/zeros')).toMatchObject({
      storedBytes: 0,
      sizeBytes: 5 * MIB,
      map: { slots: [] },
    });
    expect((await readFile(volume, '/zeros')).equals(Buffer.alloc(5 * MIB))).toBe(true);
    const writer = await volume.openWriter('/zeros');
    await writer.write(bytesOf(1, 100), 3 * MIB);
    await writer.commit();
    await writer.write(Buffer.alloc(100), 3 * MIB);
    await writer.close();
    expect(await fileAt(volume, '/zeros')).toMatchObject({ storedBytes: 0, map: { slots: [] } });
  });

  it('S59, S7: what was cut off inside a unit reads as zeros when the file grows again', async () => {
    const volume = await openVolume(64 * KIB);
    for (const isCommitted of [false, true]) {
      const path = `/cut-${isCommitted}`;
      const writer = await volume.createFile(path, FILE);
      await writer.write(Buffer.alloc(200 * KIB, 'x'));
      await writer.commit();
      await writer.truncate(70 * KIB);
      if (isCommitted) await writer.commit();
      await writer.truncate(200 * KIB);
      await writer.close();
      const back = await readFile(volume, path);
      expect(back.subarray(0, 70 * KIB).every(byte => byte === 'x'.charCodeAt(0))).toBe(true);
      expect(back.subarray(70 * KIB).every(byte => byte === 0)).toBe(true);
      expect(back.byteLength).toBe(200 * KIB);
    }
  });

  it('costs by its data, not by its size, and can be stopped', async () => {
    const volume = await openVolume();
    const writer = await volume.createFile('/sparse', FILE);
    const places = [2 ** 30, 2 ** 30 + 8 * KIB, 2 ** 44 + 5, 2 ** 49];
    for (const place of places) await writer.write(Buffer.from('data'), place);
    await writer.truncate(2 ** 50);
    await writer.close();
    const reader = await volume.openFile('/sparse');
    const found: number[] = [];
    let [pieces, endBytes] = [0, 7];
    for await (const { offsetBytes, lengthBytes, bytes } of reader.pieces(7, 2 ** 50)) {
      expect(offsetBytes).toBe(endBytes);
      endBytes += lengthBytes;
      pieces += 1;
      if (bytes !== undefined) found.push(offsetBytes + Buffer.from(bytes).indexOf('data'));
    }
    expect([found, endBytes]).toEqual([places, 2 ** 50]);
    expect(pieces).toBeLessThan(100);
    const stop = new AbortController();
    const stopped = async (): Promise<void> => {
      for await (const piece of reader.pieces(0, 2 ** 50, { signal: stop.signal })) {
        if (piece.offsetBytes > 0) stop.abort(new Error('enough'));
      }
    };
    await expect(stopped()).rejects.toThrow('enough');
  });

  it('is as large as 2^53 - 1 bytes, sparse', async () => {
    const volume = await openVolume();
    const writer = await volume.createFile('/sparse', FILE);
    const end = Number.MAX_SAFE_INTEGER;
    await writer.write(Buffer.from('front'), 0);
    await writer.write(Buffer.from('end'), end - 3);
    expect(await codeOf(writer.write(Buffer.from('x'), end))).toBe('EINVAL');
    await writer.close();
    const reader = await volume.openFile('/sparse');
    expect(reader.sizeBytes).toBe(end);
    const back = Buffer.alloc(8);
    expect(await reader.read(back, end - 6)).toBe(6);
    expect(back.subarray(0, 6).toString('latin1')).toBe('\0\0\0end');
    await reader.read(back, 0);
    expect(back.toString('latin1')).toBe('front\0\0\0');
    const again = await volume.openWriter('/sparse');
    await again.truncate(5);
    await again.close();
    expect((await readFile(volume, '/sparse')).toString()).toBe('front');
  });

  it('damage of one unit leaves the others readable, each byte or an error in its place', async () => {
    const volume = await openVolume(64 * KIB);
    const bytes = bytesOf(3, 8 * 64 * KIB);
    await writeFile(volume, '/f', bytes);
    const inode = await fileAt(volume, '/f');
    const pointer = inode.map.slots[3]?.pointer;
    if (pointer === undefined) throw new Error('no unit');
    const key = segmentKey(pointer.segment);
    const object = Buffer.from((await test.store.get(key)).bytes);
    const at = pointer.offsetBytes + 1000;
    object[at] = (object[at] ?? 0) ^ 1;
    await test.store.put(key, [object]);
    const reader = await volume.openFile('/f');
    const lost: number[] = [];
    for await (const piece of reader.pieces(0, bytes.byteLength)) {
      const index = piece.offsetBytes / (64 * KIB);
      if (piece.error !== undefined) {
        lost.push(index);
        expect(piece.error.code).toBe('EAUTH');
        continue;
      }
      const expected = bytes.subarray(piece.offsetBytes, piece.offsetBytes + piece.lengthBytes);
      expect(expected.equals(Buffer.from(piece.bytes ?? []))).toBe(true);
    }
    expect(lost).toEqual([3]);
    expect(await codeOf(reader.read(Buffer.alloc(10), 3 * 64 * KIB))).toBe('EAUTH');
    expect(await codeOf(reader.read(Buffer.alloc(10), 5 * 64 * KIB))).toBe('ok');
    // A write of part of it would need the rest; a write of all of it does not.
    const writer = await volume.openWriter('/f');
    expect(await codeOf(writer.write(Buffer.from('x'), 3 * 64 * KIB + 5))).toBe('EAUTH');
    await writer.write(Buffer.alloc(64 * KIB, 'y'), 3 * 64 * KIB);
    await writer.close();
    bytes.fill('y', 3 * 64 * KIB, 4 * 64 * KIB);
    expect((await readFile(volume, '/f')).equals(bytes)).toBe(true);
  });

  it('before the end of a segment that was cut short is still there', async () => {
    const volume = await openVolume(64 * KIB);
    const bytes = bytesOf(3, 8 * 64 * KIB);
    await writeFile(volume, '/f', bytes);
    const pointer = (await fileAt(volume, '/f')).map.slots[5]?.pointer;
    if (pointer === undefined) throw new Error('no unit');
    const key = segmentKey(pointer.segment);
    const object = Buffer.from((await test.store.get(key)).bytes);
    await test.store.put(key, [object.subarray(0, pointer.offsetBytes + 1000)]);
    const codes: (string | undefined)[] = [];
    for await (const piece of (await volume.openFile('/f')).pieces(0, bytes.byteLength))
      codes.push(piece.error?.code);
    expect(codes).toEqual([...new Array(5).fill(undefined), 'ETRUNCATED', 'ETRUNCATED', 'ETRUNCATED']);
  });
});

describe('a writer at the end of a block', () => {
  it('is ended without a commit, and leaves what was committed before', async () => {
    const volume = await openVolume();
    await expect(async () => {
      await using writer = await volume.createFile('/f', FILE);
      await writer.write(bytesOf(1, 10));
      await writer.commit();
      await writer.write(bytesOf(2, 10_000));
      throw new Error('on the way');
    }).rejects.toThrow('on the way');
    expect((await volume.openFile('/f')).sizeBytes).toBe(10);
    {
      await using writer = await volume.openWriter('/f');
      await writer.write(bytesOf(3, 20));
      await writer.close();
    }
    expect((await volume.openFile('/f')).sizeBytes).toBe(20);
  });
});

describe('two writers of one file', () => {
  for (const isOwnObject of [false, true]) {
    it(`S56: the second to commit part of a unit hears of the first (${isOwnObject ? 'object' : 'embedded'})`, async () => {
      await openVolume();
      const [first, second] = await Promise.all([test.client(), test.client()]);
      await writeFile(first.volume, '/f', Buffer.alloc(10_000, 'a'));
      if (isOwnObject) {
        await first.volume.names.link(await first.volume.place('/f'), first.volume.root, 'g');
      }
      const one = await first.volume.openWriter('/f');
      const two = await second.volume.openWriter('/f');
      await one.write(Buffer.from('one'), 10);
      await two.write(Buffer.from('two'), 5000);
      await one.commit();
      expect(await codeOf(two.commit())).toBe('ECONFLICT');
      // It stays so.
      expect(await codeOf(two.commit())).toBe('ECONFLICT');
      const again = await second.volume.openWriter('/f');
      await again.write(Buffer.from('two'), 5000);
      await again.close();
      const expected = Buffer.alloc(10_000, 'a');
      expected.write('one', 10);
      expected.write('two', 5000);
      expect((await readFile(first.volume, '/f')).equals(expected)).toBe(true);
      await one.write(Buffer.from('x'), 0);
      expect(await codeOf(one.commit())).toBe('ECONFLICT');
    });
  }

  it('changes of attributes do not get in the way of writers', async () => {
    const volume = await openVolume();
    const other = (await test.client()).volume;
    await writeFile(volume, '/f', Buffer.from('a'));
    const writer = await volume.openWriter('/f');
    await writer.write(Buffer.from('b'), 1);
    const { parent, entry } = await other.find('/f');
    if (parent === undefined || entry === undefined) throw new Error('no file');
    await other.names.setAttributes(parent, entry, { mode: 0o600 });
    await writer.close();
    expect(await fileAt(other, '/f')).toMatchObject({ mode: 0o600, sizeBytes: 2 });
  });
});

describe('with as little memory as is allowed', () => {
  it('many files are written and read at the same time', async () => {
    test = await TestVolume.create({ unitSizeBytes: 64 * KIB });
    const pipeline = await openPipeline({ workers: 1, memoryBytes: 4 * (256 * KIB + 72) });
    try {
      const { volume } = await test.client({ pipeline, segmentBytes: MIB });
      const files = Array.from({ length: 12 }, (_, at) => bytesOf(at, 700 * KIB + at * 999));
      await Promise.all(
        files.map(async (bytes, at) => {
          const writer = await volume.createFile(`/f${at}`, FILE);
          for (let from = 0; from < bytes.byteLength; from += 50_000) {
            await writer.write(bytes.subarray(from, from + 50_000));
          }
          await writer.close();
        }),
      );
      await Promise.all([
        ...files.map(async (bytes, at) =>
          expect((await readFile(volume, `/f${at}`)).equals(bytes)).toBe(true),
        ),
        ...files.map((bytes, at) => writeFile(volume, `/g${at}`, bytes)),
      ]);
      for (const [at, bytes] of files.entries()) {
        expect((await readFile(volume, `/g${at}`)).equals(bytes)).toBe(true);
      }
      expect(
        pipeline.memory.every(({ usedBytes, waiterCount }) => usedBytes === 0 && waiterCount === 0),
      ).toBe(true);
    } finally {
      await test.close();
      await pipeline.close();
    }
  });

  it('units of the default size pass as well', async () => {
    test = await TestVolume.create({ unitSizeBytes: 256 * KIB });
    const pipeline = await openPipeline({ workers: 1, memoryBytes: 4 * (256 * KIB + 72) });
    try {
      const { volume } = await test.client({ pipeline });
      const bytes = bytesOf(1, 3 * MIB + 5);
      await Promise.all([writeFile(volume, '/a', bytes), writeFile(volume, '/b', bytes)]);
      const [a, b] = await Promise.all([readFile(volume, '/a'), readFile(volume, '/b')]);
      expect(a.equals(bytes) && b.equals(bytes)).toBe(true);
    } finally {
      await test.close();
      await pipeline.close();
    }
  });
});
