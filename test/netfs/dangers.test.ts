/** The dangerous places of netfs, each met on purpose: calls are held where they hurt most. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { File } from '../../src/netfs/file.ts';
import type { CommitSub } from '../../src/netfs/server.ts';
import { changed, whyNotEqual } from './file-model.ts';
import { patternOf } from './pattern.ts';
import { type TestClient, TestDisk, UNIT_BYTES } from './test-disk.ts';
import type { TurnFault } from './turn-script.ts';

let test: TestDisk;
/** Faults of the client `a`, by the beginning of an operation's name and its number: `commit 1`. */
let faults: Map<string, TurnFault>;
let isFull: boolean;

beforeEach(async () => {
  test = await TestDisk.create(1);
  faults = new Map();
  isFull = false;
});

afterEach(async () => {
  expect(await test.close()).toEqual([]);
});

function clientA(pageBytes?: number): TestClient {
  return test.client('a', {
    ...(pageBytes === undefined ? {} : { pageBytes }),
    fault: ({ operation, number }) => {
      if (isFull && (operation === 'upload' || operation === 'commit')) return 'full';
      return faults.get(`${operation} ${number}`);
    },
  });
}

/** Holds a turn: `a commit 1 begins`, without the units that it is about. Returns what lets it go. */
function hold(turn: string): () => void {
  return test.turns.hold(label => isTurn(label, turn));
}

/** Goes on until something waits for such a turn. */
function until(turn: string): Promise<void> {
  return test.turns.until(() => test.turns.waiting.some(label => isTurn(label, turn)));
}

function isTurn(label: string, turn: string): boolean {
  return label.replace(/ of [\d,]+/, '').startsWith(turn);
}

async function write(file: File, number: number, offsetBytes: number, lengthBytes: number): Promise<void> {
  const bytes = patternOf(number, offsetBytes, lengthBytes);
  const { bytesWritten } = await test.turns.run(file.write(bytes, { position: offsetBytes }));
  expect(bytesWritten).toBe(lengthBytes);
}

async function contentOf(file: File): Promise<Uint8Array> {
  const into = new Uint8Array(file.sizeBytes);
  const { bytesRead } = await test.turns.run(file.read(into, { position: 0 }));
  expect(bytesRead).toBe(into.byteLength);
  return into;
}

/** What a file of zeros holds after writes `[number, offset, length]`. */
function written(...writes: readonly (readonly [number, number, number])[]): Uint8Array {
  let content: Uint8Array = new Uint8Array();
  for (const [number, offsetBytes, lengthBytes] of writes) {
    const bytes = patternOf(number, offsetBytes, lengthBytes);
    content = changed(content, { kind: 'write', offsetBytes, bytes });
  }
  return content;
}

/** Resolves with what becomes of a call, without giving it any turn. */
async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return 'ok';
  } catch (error) {
    if (error instanceof Error && 'code' in error) return String(error.code);
    throw error;
  }
}

/** Goes on until a call has ended. Returns what became of it. */
function outcome(work: Promise<unknown>): Promise<string> {
  return test.turns.run(codeOf(work));
}

describe('a commit', () => {
  it('does not swallow a write made between freeze and swap', async () => {
    const key = test.add();
    const file = await clientA().open(key);
    await write(file, 1, 0, UNIT_BYTES);
    const release = hold('a commit 1 begins');
    const sync = file.sync();
    await until('a commit 1 begins');
    await write(file, 2, 100, 200);
    release();
    await test.turns.run(sync);
    expect(whyNotEqual(await test.stored(key), written([1, 0, UNIT_BYTES]))).toBeUndefined();
    const both = written([1, 0, UNIT_BYTES], [2, 100, 200]);
    expect(whyNotEqual(await contentOf(file), both)).toBeUndefined();
    const other = await test.client('b').open(key);
    expect(whyNotEqual(await contentOf(other), written([1, 0, UNIT_BYTES]))).toBeUndefined();
    await test.turns.run(other.close());
    await test.turns.run(file.sync());
    expect(whyNotEqual(await test.stored(key), both)).toBeUndefined();
    await test.turns.run(file.close());
  });

  it('holds a write of before, and none of after, wherever in it the write came (S22)', async () => {
    const key = test.add();
    const file = await clientA().open(key);
    for (let steps = 0, isOver = false; !isOver; steps += 1) {
      await test.turns.run(file.truncate(0));
      const first = 100 + 2 * steps;
      await write(file, first, 0, 3 * UNIT_BYTES);
      const sync = file.sync();
      for (let step = 0; step < steps; step += 1) {
        await test.turns.rest();
        isOver = test.turns.step() === undefined;
      }
      await write(file, first + 1, UNIT_BYTES + 10, 2 * UNIT_BYTES);
      await test.turns.run(sync);
      const both = written([first, 0, 3 * UNIT_BYTES], [first + 1, UNIT_BYTES + 10, 2 * UNIT_BYTES]);
      const stored = await test.stored(key);
      const why = whyNotEqual(stored, written([first, 0, 3 * UNIT_BYTES]));
      // The write may have come before the freeze.
      expect(why === undefined || whyNotEqual(stored, both) === undefined, `${steps} steps: ${why}`).toBe(
        true,
      );
      expect(whyNotEqual(await contentOf(file), both), `${steps} steps`).toBeUndefined();
      await test.turns.run(file.sync());
      expect(whyNotEqual(await test.stored(key), both), `${steps} steps`).toBeUndefined();
    }
    await test.turns.run(file.close());
  });

  it('ends where the file ended then, though a later write has made it longer', async () => {
    const key = test.add();
    const file = await clientA().open(key);
    await write(file, 1, 0, 5000);
    const sync = file.sync();
    // Its own unit does not wait for the commit, and the last unit of the commit is not its own.
    await write(file, 2, 10 * UNIT_BYTES, 100);
    await test.turns.run(sync);
    expect(whyNotEqual(await test.stored(key), written([1, 0, 5000]))).toBeUndefined();
    await test.turns.run(file.close());
    expect(
      whyNotEqual(await test.stored(key), written([1, 0, 5000], [2, 10 * UNIT_BYTES, 100])),
    ).toBeUndefined();
  });

  it('whose answer is lost has happened, and is told so', async () => {
    const key = test.add();
    const file = await clientA().open(key);
    faults.set('commit 1', 'lost').set('commit 2', 'refused');
    await write(file, 1, 0, 2 * UNIT_BYTES);
    expect(await outcome(file.sync())).toBe('ok');
    expect(whyNotEqual(await test.stored(key), written([1, 0, 2 * UNIT_BYTES]))).toBeUndefined();
    await write(file, 2, 0, 300);
    faults.set('commit 4', 'dropped');
    await test.turns.run(file.close());
    const both = written([1, 0, 2 * UNIT_BYTES], [2, 0, 300]);
    expect(whyNotEqual(await test.stored(key), both)).toBeUndefined();
  });
});

describe('a conflict', () => {
  it('is none with own commits whose answers were lost, however many there were', async () => {
    const key = test.add();
    const file = await clientA().open(key);
    const other = await test.client('b').open(key);
    // The first one happens, and nobody says so.
    faults.set('commit 1', 'lost').set('commit 2', 'dropped').set('commit 3', 'dropped');
    await write(file, 1, 0, 100);
    expect(await outcome(file.sync())).toBe('EUNCERTAIN');
    await test.turns.pass(500);
    await write(other, 2, 5 * UNIT_BYTES, 100);
    await test.turns.run(other.close());
    // What is sent next is another commit, which does not happen, as the resolving of the first is cut short.
    await write(file, 3, 50, 100);
    faults.set('state 1', 'refused').set('commit 5', 'dropped');
    expect(await outcome(file.sync())).toBe('ok');
    const all = written([1, 0, 100], [2, 5 * UNIT_BYTES, 100], [3, 50, 100]);
    expect(whyNotEqual(await test.stored(key), all)).toBeUndefined();
    await test.turns.run(file.close());
  });
});

describe('two flushes of one unit', () => {
  /** The second flush changes a part of what the first one had. */
  async function flushTwice(
    order: 'first fails first' | 'first fails last' | 'first ends last' | 'both fail',
  ) {
    const key = test.add();
    // Half of the pages are held soon: the second flush comes from the background.
    const file = await clientA(8 * UNIT_BYTES).open(key);
    if (order !== 'first ends last') faults.set('upload 2', 'full');
    if (order === 'both fail') faults.set('upload 3', 'full');
    await write(file, 1, 0, UNIT_BYTES);
    await test.turns.run(file.sync());
    await write(file, 2, 500, 1500);
    const letFirst = hold('a upload 2 begins');
    const one = codeOf(file.sync());
    await until('a upload 2 begins');
    await write(file, 3, 1000, 2000);
    const letSecond = hold('a upload 3 begins');
    await write(file, 4, 10 * UNIT_BYTES, 4 * UNIT_BYTES);
    await until('a upload 3 begins');
    const isFirstFirst = order === 'first fails first' || order === 'both fail';
    for (const release of isFirstFirst ? [letFirst, letSecond] : [letSecond, letFirst]) {
      await test.turns.settle();
      release();
    }
    const code = await test.turns.run(one);
    const all = written(
      [1, 0, UNIT_BYTES],
      [2, 500, 1500],
      [3, 1000, 2000],
      [4, 10 * UNIT_BYTES, 4 * UNIT_BYTES],
    );
    expect(whyNotEqual(await contentOf(file), all), 'seen').toBeUndefined();
    // The second one fails after the first was told of.
    if (order === 'both fail') expect(await outcome(file.sync())).toBe('EFULL');
    expect(await outcome(file.sync())).toBe('ok');
    expect(whyNotEqual(await test.stored(key), all), 'stored').toBeUndefined();
    await test.turns.run(file.close());
    return code;
  }

  it('keep the newest bytes when the first ends last', async () => {
    expect(await flushTwice('first ends last')).toBe('ok');
  });

  it('keep the newest bytes when the first fails before the second ends', async () => {
    expect(await flushTwice('first fails first')).toBe('EFULL');
  });

  it('keep the newest bytes when the first fails after the second has ended', async () => {
    expect(await flushTwice('first fails last')).toBe('EFULL');
  });

  it('keep all bytes when both fail', async () => {
    expect(await flushTwice('both fail')).toBe('EFULL');
  });
});

describe('a failed segment', () => {
  it('is told once to each open file of each file in it, and the next sync writes everything (S35)', async () => {
    const client = clientA();
    const keys = [test.add(), test.add(), test.add()];
    const files = await Promise.all(keys.map(key => client.open(key)));
    const twin = await client.open(keys[0] ?? test.add());
    isFull = true;
    for (const [at, file] of files.entries()) await write(file, 10 + at, 0, 2 * UNIT_BYTES + 5);
    const syncAll = (): Promise<string[]> =>
      test.turns.run(Promise.all(files.map(file => codeOf(file.sync()))));
    expect(await syncAll()).toEqual(['EFULL', 'EFULL', 'EFULL']);
    isFull = false;
    for (const file of files) expect(file.status().isCommitted).toBe(false);
    expect(await syncAll()).toEqual(['ok', 'ok', 'ok']);
    // Nobody has told this one yet.
    expect(await outcome(twin.sync())).toBe('EFULL');
    expect(await outcome(twin.sync())).toBe('ok');
    for (const [at, key] of keys.entries()) {
      const why = whyNotEqual(await test.stored(key), written([10 + at, 0, 2 * UNIT_BYTES + 5]));
      expect(why).toBeUndefined();
    }
    for (const file of [...files, twin]) await test.turns.run(file.close());
  });

  it('of a file that stays full does not stop the others', async () => {
    const full = test.add();
    const well = test.add();
    // The server refuses one file only: its commits fail for ever.
    const blocked = test.client('blocked', {
      fault: ({ operation, units }) => (operation === 'commit' && units.includes(7) ? 'full' : undefined),
    });
    const [bad, good] = [await blocked.open(full), await blocked.open(well)];
    await write(bad, 1, 7 * UNIT_BYTES, 100);
    expect(await outcome(bad.sync())).toBe('EFULL');
    for (let round = 0; round < 5; round += 1) {
      await write(good, 10 + round, 0, UNIT_BYTES);
      expect(await outcome(good.sync())).toBe('ok');
      await test.turns.pass(7000);
    }
    expect(whyNotEqual(await test.stored(well), written([14, 0, UNIT_BYTES]))).toBeUndefined();
    expect(bad.status().failing).toMatchObject({ code: 'EFULL' });
    expect(whyNotEqual(await contentOf(bad), written([1, 7 * UNIT_BYTES, 100]))).toBeUndefined();
    await test.turns.run(bad.discard());
    await test.turns.run(bad.close().catch(() => undefined));
    await test.turns.run(good.close());
  });
});

describe('a fetch of an old version', () => {
  it('is not inserted over what was written and committed meanwhile', async () => {
    const key = test.add();
    const writer = await test.client('w').open(key);
    await write(writer, 1, 0, 3 * UNIT_BYTES);
    await test.turns.run(writer.close());
    const file = await clientA().open(key);
    const release = hold('a read 1 ends');
    const into = new Uint8Array(100);
    const reading = file.read(into, { position: 200 });
    await until('a read 1 ends');
    await write(file, 2, 0, UNIT_BYTES);
    await test.turns.run(file.sync());
    release();
    await test.turns.run(reading);
    const all = written([1, 0, 3 * UNIT_BYTES], [2, 0, UNIT_BYTES]);
    expect(whyNotEqual(await contentOf(file), all)).toBeUndefined();
    await test.turns.run(file.close());
    expect(whyNotEqual(await test.stored(key), all)).toBeUndefined();
  });

  it('is not inserted after another client has changed the unit', async () => {
    const key = test.add();
    const writer = await test.client('w').open(key);
    await write(writer, 1, 0, 3 * UNIT_BYTES);
    await test.turns.run(writer.sync());
    const file = await clientA().open(key);
    const release = hold('a read 1 ends');
    const into = new Uint8Array(100);
    const reading = file.read(into, { position: 200 });
    await until('a read 1 ends');
    await write(writer, 2, 0, 2 * UNIT_BYTES);
    await test.turns.run(writer.sync());
    release();
    await test.turns.run(reading);
    const old = patternOf(1, 200, 100);
    const now = patternOf(2, 200, 100);
    expect([old, now]).toContainEqual(into);
    // From here on the file may be as fresh as it likes, but never older than another client's sync for ever.
    await test.turns.pass(60_000);
    const all = written([1, 0, 3 * UNIT_BYTES], [2, 0, 2 * UNIT_BYTES]);
    expect(whyNotEqual(await contentOf(file), all)).toBeUndefined();
    await test.turns.run(file.close());
    await test.turns.run(writer.close());
  });
});

describe('one read', () => {
  it('is of one version, though another client commits in the middle of it', async () => {
    for (let steps = 0; steps < 14; steps += 1) {
      const key = test.add();
      const writer = await test.client(`w${steps}`).open(key);
      await write(writer, 1, 0, 8 * UNIT_BYTES);
      await test.turns.run(writer.sync());
      const file = await test.client(`r${steps}`).open(key);
      const into = new Uint8Array(8 * UNIT_BYTES);
      const reading = file.read(into, { position: 0 });
      for (let step = 0; step < steps; step += 1) {
        await test.turns.rest();
        test.turns.step();
      }
      const release = hold(`r${steps} `);
      await write(writer, 2, 0, 8 * UNIT_BYTES);
      await test.turns.run(writer.sync());
      release();
      await test.turns.run(reading);
      const versions = [patternOf(1, 0, into.byteLength), patternOf(2, 0, into.byteLength)];
      const whys = versions.map(version => whyNotEqual(into, version));
      expect(whys, `${steps} steps`).toContain(undefined);
      await test.turns.run(file.close());
      await test.turns.run(writer.close());
    }
  });
});

describe('truncate', () => {
  /** A file of 3.5 units whose last unit is dirty, at every step of its flush. */
  async function cutAt(steps: number, isCold: boolean): Promise<boolean> {
    const key = test.add();
    const sizeBytes = 3 * UNIT_BYTES + 2000;
    const writer = await test.client(`w${steps}${isCold}`).open(key);
    await write(writer, 1, 0, sizeBytes);
    await test.turns.run(writer.close());
    const file = await test.client(`a${steps}${isCold}`).open(key);
    if (!isCold) await contentOf(file);
    await write(file, 2, 3 * UNIT_BYTES + 500, 1000);
    const sync = codeOf(file.sync());
    const reading = isCold ? file.read(new Uint8Array(sizeBytes), { position: 0 }) : undefined;
    let isOver = false;
    for (let step = 0; step < steps; step += 1) {
      await test.turns.rest();
      isOver = test.turns.step() === undefined;
    }
    const cutBytes = 3 * UNIT_BYTES + 700;
    await test.turns.run(file.truncate(cutBytes));
    await test.turns.run(file.truncate(4 * UNIT_BYTES + 10));
    let expected = written([1, 0, sizeBytes], [2, 3 * UNIT_BYTES + 500, 1000]);
    for (const size of [cutBytes, 4 * UNIT_BYTES + 10]) {
      expected = changed(expected, { kind: 'truncate', sizeBytes: size });
    }
    const where = `${steps} steps, ${isCold ? 'cold' : 'warm'}`;
    expect(whyNotEqual(await contentOf(file), expected), `${where}: seen`).toBeUndefined();
    await test.turns.run(Promise.all([reading]));
    expect(await test.turns.run(sync), where).toBe('ok');
    expect(whyNotEqual(await contentOf(file), expected), `${where}: seen after the sync`).toBeUndefined();
    await test.turns.run(file.sync());
    expect(whyNotEqual(await test.stored(key), expected), `${where}: stored`).toBeUndefined();
    await test.turns.run(file.close());
    return isOver;
  }

  for (const isCold of [false, true]) {
    const what = isCold ? 'and a fill' : 'of a warm unit';
    it(`at every step of a flush ${what}: what was cut off never comes back (S7, S38, S59)`, async () => {
      let steps = 0;
      while (!(await cutAt(steps, isCold))) steps += 1;
      expect(steps).toBeGreaterThan(4);
    });
  }
});

describe('close', () => {
  it('does not wait for ever for a dropped record, in a segment that nobody sends', async () => {
    const key = test.add();
    const stashed: number[] = [];
    const stash = async (_: unknown, { receipts }: CommitSub): Promise<void> => {
      stashed.push(...receipts.keys());
    };
    const file = await clientA().open(key, { stash });
    const other = await test.client('b').open(key);
    await write(file, 1, 0, 100);
    await write(other, 2, 0, 100);
    await test.turns.run(other.close());
    const release = hold('a commit 1 begins');
    const sync = codeOf(file.sync());
    await until('a commit 1 begins');
    // It is placed on the way into the stash, and then dropped here.
    await write(file, 3, 5 * UNIT_BYTES, 100);
    release();
    expect(await test.turns.run(sync)).toBe('ECONFLICT');
    expect(stashed).toEqual([0, 5]);
    expect(await outcome(file.close())).toBe('ok');
  });

  it('rejects when data cannot be flushed, and reports nothing as clean', async () => {
    const key = test.add();
    const client = clientA();
    const file = await client.open(key);
    await write(file, 1, 0, 5000);
    isFull = true;
    expect(await outcome(file.close())).toBe('EFULL');
    // Closed it is.
    expect(await outcome(file.write(new Uint8Array(1), { position: 0 }))).not.toBe('ok');
    const again = await client.open(key);
    expect(again.status()).toMatchObject({ isCommitted: false, failing: { code: 'EFULL' } });
    expect(whyNotEqual(await contentOf(again), written([1, 0, 5000]))).toBeUndefined();
    isFull = false;
    expect(await outcome(again.close())).toBe('ok');
    expect(whyNotEqual(await test.stored(key), written([1, 0, 5000]))).toBeUndefined();
  });
});
