/**
 * The contract of stores: the tests that every store has to pass. A store's own test file is a factory; see
 * `docs/STORES.md`. It needs no test framework but two functions, `describe` and `it`.
 */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Chance, seededChance } from '../base/chance.ts';
import { codeOf, type ErrorCode, isNetsealError, messageOf } from '../base/errors.ts';
import {
  compareKeys,
  KEY_BYTES_MAX,
  type ListEntry,
  type ObjectStore,
  type PutCondition,
  type StoreCapabilities,
} from './store.ts';

export interface StoreUnderTest {
  readonly store: ObjectStore;
  /** Another client of the same objects, where there can be one. */
  readonly other?: ObjectStore;
  /** Whether requests fail with EUNAVAILABLE now and then, and are repeated until the store closes. */
  readonly isRefusing?: boolean;
  /** Takes away what the factory made, after both were closed. */
  readonly remove?: () => Promise<void>;
}

/** The code of the NetsealError that `promise` rejects with. */
export async function rejectionOf(promise: Promise<unknown>): Promise<ErrorCode> {
  try {
    await promise;
  } catch (error) {
    if (isNetsealError(error)) return error.code;
    throw error;
  }
  return assert.fail('the call resolved, and should have failed');
}

export const text = (value: string): Uint8Array<ArrayBuffer> => new Uint8Array(Buffer.from(value));
export const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString();

/** Every key with its entry, in pages of `limit`. */
export async function listAll(store: ObjectStore, limit = 1000, prefix?: string): Promise<ListEntry[]> {
  const all: ListEntry[] = [];
  let after: string | undefined;
  do {
    const page = await store.list({ limit, after, prefix });
    assert.ok(page.entries.length <= limit);
    all.push(...page.entries);
    after = page.next;
  } while (after !== undefined);
  return all;
}

export const HOSTILE_KEYS: readonly string[] = [
  'a',
  'a/b',
  'a/b/c',
  'a+',
  'a++/b',
  'a%2fb',
  'A',
  'a ',
  ' a',
  '...',
  '.a',
  'a/.b',
  'a.',
  '~',
  'a\nb',
  'a\rb',
  '\t',
  '\u0001',
  '\u007f',
  '\\..\\x',
  'C:\\x',
  'con',
  '-rf',
  '*?"<>|',
  'lock',
  'partial',
  'partial/1',
  'objects',
  '\u00e9',
  'e\u0301',
  '\ufeffbom',
  '\uffff',
  '\u{1f600}',
  'x'.repeat(128),
  'x'.repeat(129),
  `${'x'.repeat(128)}..`,
  `${'x'.repeat(127)}A..`,
  'y'.repeat(KEY_BYTES_MAX),
  'Z'.repeat(KEY_BYTES_MAX),
  `${'A/'.repeat(60)}A`,
  '\u00e9'.repeat(KEY_BYTES_MAX / 2),
];

const INVALID_KEYS: readonly string[] = [
  '',
  '/',
  '/a',
  'a/',
  'a//b',
  '.',
  '..',
  '../a',
  'a/../b',
  'a/.',
  './a',
  'a\0',
  '\ud800',
  'y'.repeat(KEY_BYTES_MAX + 1),
  '\u00e9'.repeat(KEY_BYTES_MAX / 2 + 1),
];

const MAP_ROUNDS = 25;
const OPERATIONS_MAX = 30;
const KINDS = ['put', 'create', 'swap', 'get', 'stat', 'delete', 'list'] as const;

function randomOperations(chance: Chance, keys: readonly string[]): ModelOperation[] {
  const below = (count: number): number => Math.floor(chance() * count);
  return Array.from({ length: below(OPERATIONS_MAX + 1) }, () => ({
    kind: KINDS[below(KINDS.length)] ?? 'put',
    key: keys[below(keys.length)] ?? '',
    size: below(5001),
    offset: below(5001),
    useOld: chance() < 0.5,
  }));
}

/** Asserts that an object has these fields, and maybe more. */
function assertFields(actual: object | undefined, fields: object): void {
  assert.ok(actual !== undefined);
  for (const [name, value] of Object.entries(fields))
    assert.deepEqual(Reflect.get(actual, name), value, name);
}

async function assertRejectsWith(promise: Promise<unknown>, reason: unknown): Promise<void> {
  const end = await promise.then(
    () => 'the call resolved',
    error => error,
  );
  assert.equal(end, reason);
}

interface ModelObject {
  readonly bytes: Uint8Array;
  readonly version: string;
}

/** The functions of a test framework that the suite needs: those of `node:test`, vitest, jest or mocha will do. */
export interface TestFramework {
  describe(name: string, body: () => void): unknown;
  it(name: string, body: () => Promise<void>): unknown;
}

export interface ContractOptions extends TestFramework {
  /** What the store must declare, at least. Stores without conditions are tested without them. */
  readonly declared?: Partial<StoreCapabilities>;
  /** Replays random operations of an earlier run; a failure names it. Default: another one each time. */
  readonly seed?: number;
}

/**
 * Defines the tests of a store.
 *
 *     import { describe, it } from 'node:test';
 *     describeStore('my store', async () => ({ store: await MyStore.open() }), { describe, it });
 *
 * @param make opens an empty store for each test. The tests close it, and then call `remove`.
 */
export function describeStore(
  name: string,
  make: () => Promise<StoreUnderTest>,
  options: ContractOptions,
): void {
  const { declared = {}, seed = Math.floor(Math.random() * 2 ** 31) } = options;
  options.describe(`${name}, held to the contract of stores`, () => {
    const made: StoreUnderTest[] = [];
    const open = async (): Promise<StoreUnderTest> => {
      const one = await make();
      made.push(one);
      return one;
    };
    const closeAll = async (): Promise<void> => {
      for (const { store, other, remove } of made.splice(0)) {
        await store.close();
        await other?.close();
        await remove?.();
      }
    };
    const it = (title: string, body: () => Promise<void>): void => {
      options.it(title, async () => {
        try {
          await body();
        } finally {
          await closeAll();
        }
      });
    };

    it('declares what it can do', async () => {
      const { store } = await open();
      assertFields(store.capabilities, declared);
      assert.notEqual(store.name, '');
    });

    it('gives back what was put, gathered from its parts, with version and size', async () => {
      const { store } = await open();
      const { version } = await store.put('s/x', [text('one '), text(''), text('two')]);
      const found = await store.get('s/x');
      assert.equal(textOf(found.bytes), 'one two');
      assertFields(found, { version, sizeBytes: 7 });
      assertFields(await store.stat('s/x'), { version, sizeBytes: 7 });
    });

    it('keeps empty objects', async () => {
      const { store } = await open();
      await store.put('empty', []);
      assertFields(await store.get('empty'), { sizeBytes: 0, bytes: new Uint8Array(0) });
      const ranged = await store.get('empty', { range: { offsetBytes: 5, lengthBytes: 5 } });
      assert.equal(ranged.bytes.byteLength, 0);
    });

    it('keeps objects of many parts and many bytes', async () => {
      const { store } = await open();
      const parts = Array.from({ length: 1500 }, (_, at) => new Uint8Array(3000).fill(at));
      await store.put('big', parts);
      const { bytes } = await store.get('big');
      assert.equal(Buffer.compare(bytes, Buffer.concat(parts)), 0);
    });

    it('a range gives what it covers, also where the object ends', async () => {
      const { store } = await open();
      await store.put('r', [text('0123456789')]);
      const read = async (offsetBytes: number, lengthBytes: number): Promise<string> => {
        const { bytes, sizeBytes } = await store.get('r', { range: { offsetBytes, lengthBytes } });
        assert.equal(sizeBytes, 10);
        return textOf(bytes);
      };
      assert.equal(await read(0, 3), '012');
      assert.equal(await read(4, 3), '456');
      assert.equal(await read(8, 100), '89');
      assert.equal(await read(10, 1), '');
      assert.equal(await read(99, 1), '');
      assert.equal(await read(3, 0), '');
    });

    it('reads into the memory that it is given, shared or not, and touches no more of it', async () => {
      const { store } = await open();
      await store.put('r', [text('0123456789')]);
      for (const buffer of [new ArrayBuffer(16), new SharedArrayBuffer(16)]) {
        const memory = new Uint8Array(buffer).fill(0x2e);
        const into = memory.subarray(2, 8);
        const { bytes } = await store.get('r', { range: { offsetBytes: 1, lengthBytes: 4 }, into });
        assert.deepEqual([bytes.buffer, bytes.byteOffset, bytes.byteLength], [buffer, 2, 4]);
        assert.equal(textOf(memory), '..1234..........');
      }
    });

    it('reads the beginning of an object that is larger than the memory given, and says its size', async () => {
      const { store } = await open();
      await store.put('r', [text('0123456789')]);
      const found = await store.get('r', { into: new Uint8Array(4) });
      assert.deepEqual([textOf(found.bytes), found.sizeBytes], ['0123', 10]);
    });

    it('takes parts from shared memory', async () => {
      const { store } = await open();
      const shared = new Uint8Array(new SharedArrayBuffer(100)).fill(7);
      await store.put('sh', [shared.subarray(10, 20), text('x'), shared.subarray(0, 5)]);
      const { bytes } = await store.get('sh');
      assert.deepEqual([...bytes], [...Array(10).fill(7), 0x78, ...Array(5).fill(7)]);
    });

    it('ranges and buffers that make no sense are refused', async () => {
      const { store } = await open();
      await store.put('r', [text('0')]);
      for (const range of [
        { offsetBytes: -1, lengthBytes: 1 },
        { offsetBytes: 0, lengthBytes: -1 },
        { offsetBytes: 0.5, lengthBytes: 1 },
        { offsetBytes: 0, lengthBytes: Number.NaN },
      ]) {
        assert.equal(await rejectionOf(store.get('r', { range })), 'EINVAL');
      }
      const range = { offsetBytes: 0, lengthBytes: 5 };
      assert.equal(await rejectionOf(store.get('r', { range, into: new Uint8Array(4) })), 'EINVAL');
      assert.equal(await rejectionOf(store.list({ limit: 0 })), 'EINVAL');
    });

    it('what is not there is missing; deleting it is well', async () => {
      const { store } = await open();
      assert.equal(await rejectionOf(store.get('no')), 'EMISSING');
      assert.equal(await rejectionOf(store.stat('no/such')), 'EMISSING');
      await store.delete('no');
      await store.delete('no/such');
      await store.put('yes', [text('1')]);
      await store.delete('yes');
      await store.delete('yes');
      assert.equal(await rejectionOf(store.get('yes')), 'EMISSING');
      assert.deepEqual(await listAll(store), []);
    });

    it('equal bytes put again, or after a delete, have another version', async () => {
      const { store } = await open();
      const versions = new Set<string>();
      for (let round = 0; round < 20; round += 1) {
        versions.add((await store.put('v', [text('same')])).version);
        if (round % 3 === 0) await store.delete('v');
      }
      assert.equal(versions.size, 20);
    });

    it('a get can insist on a version', async () => {
      const { store } = await open();
      const first = await store.put('v', [text('1')]);
      assert.equal(textOf((await store.get('v', { ifMatch: first.version })).bytes), '1');
      await store.put('v', [text('2')]);
      assert.equal(await rejectionOf(store.get('v', { ifMatch: first.version })), 'ECONFLICT');
      assert.equal(await rejectionOf(store.get('gone', { ifMatch: first.version })), 'EMISSING');
    });

    it('keys are refused that no store can hold safely, by every operation', async () => {
      const { store } = await open();
      for (const key of INVALID_KEYS) {
        assert.equal(await rejectionOf(store.get(key)), 'EINVAL');
        assert.equal(await rejectionOf(store.put(key, [text('x')])), 'EINVAL');
        assert.equal(await rejectionOf(store.stat(key)), 'EINVAL');
        assert.equal(await rejectionOf(store.delete(key)), 'EINVAL');
      }
      assert.deepEqual(await listAll(store), []);
    });

    it('every valid key is its own object, however hostile, and lists come in order of bytes', async () => {
      const { store } = await open();
      await Promise.all(HOSTILE_KEYS.map(key => store.put(key, [text(`of ${key}`)])));
      for (const key of HOSTILE_KEYS) {
        assert.equal(textOf((await store.get(key)).bytes), `of ${key}`);
      }
      const sorted = [...HOSTILE_KEYS].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
      assert.deepEqual(
        (await listAll(store)).map(entry => entry.key),
        sorted,
      );
      assert.deepEqual(
        (await listAll(store, 3)).map(entry => entry.key),
        sorted,
      );
      for (const prefix of ['a', 'a/', 'a/b', 'x', 'A/A/', '\u00e9', 'none', '/', '../', 'a//']) {
        const keys = (await listAll(store, 4, prefix)).map(entry => entry.key);
        assert.deepEqual(
          keys,
          sorted.filter(key => key.startsWith(prefix)),
        );
      }
      for (const key of HOSTILE_KEYS) await store.delete(key);
      assert.deepEqual(await listAll(store), []);
    });

    it('lists tell sizes and times by the clock that now() reads', async () => {
      const { store } = await open();
      const before = await store.now();
      await store.put('t', [text('12345')]);
      const after = await store.now();
      const [entry] = await listAll(store);
      const { version, modifiedAtMs } = await store.stat('t');
      assertFields(entry, { key: 't', sizeBytes: 5, modifiedAtMs });
      if (store.capabilities.listHasVersions) assert.equal(entry?.version, version);
      assert.ok(modifiedAtMs >= before - 1000);
      assert.ok(modifiedAtMs <= after + 1000);
    });

    it('keys that stay are in a list exactly once, whatever comes and goes between its pages', async () => {
      const { store } = await open();
      const stays = Array.from({ length: 30 }, (_, at) => `k/${String(at * 2).padStart(3, '0')}`);
      const comesAndGoes = stays.map(key => `${key}-x`);
      for (const key of [...stays, ...comesAndGoes.slice(0, 15)]) await store.put(key, [text('1')]);
      const seen: string[] = [];
      let after: string | undefined;
      do {
        const page = await store.list({ prefix: 'k/', limit: 7, after });
        seen.push(...page.entries.map(entry => entry.key));
        after = page.next;
        await store.delete(comesAndGoes[seen.length % 30] ?? '');
        await store.put(comesAndGoes[(seen.length * 7) % 30] ?? '', [text('2')]);
        await store.put(stays[seen.length % 30] ?? '', [text('3')]);
      } while (after !== undefined);
      assert.deepEqual(
        seen.filter(key => !key.endsWith('-x')),
        stays,
      );
      assert.equal(new Set(seen).size, seen.length);
    });

    it('an aborted call rejects with the reason', async () => {
      const { store } = await open();
      await store.put('x', [text('old')]);
      const reason = new Error('enough');
      const aborted = AbortSignal.abort(reason);
      await assertRejectsWith(store.get('x', { signal: aborted }), reason);
      await assertRejectsWith(store.put('x', [text('new')], { signal: aborted }), reason);
      await assertRejectsWith(store.stat('x', { signal: aborted }), reason);
      await assertRejectsWith(store.delete('x', { signal: aborted }), reason);
      await assertRejectsWith(store.list({ limit: 1, signal: aborted }), reason);
      await assertRejectsWith(store.now({ signal: aborted }), reason);
      assert.equal(textOf((await store.get('x')).bytes), 'old');
    });

    it('an abort at any moment leaves the old or the new object, and memory that nobody writes to', async () => {
      const { store } = await open();
      const old = new Uint8Array(300_000).fill(1);
      const fresh = new Uint8Array(300_000).fill(2);
      for (let round = 0; round < 40; round += 1) {
        await store.put('x', [old]);
        const stop = new AbortController();
        const put = store.put('x', [fresh], { signal: stop.signal }).then(
          () => 'done',
          error => error,
        );
        const into = new Uint8Array(300_000);
        const get = store.get('x', { into, signal: stop.signal }).then(
          () => 'done',
          error => error,
        );
        for (let turn = 0; turn < round; turn += 1) await new Promise(setImmediate);
        const reason = new Error(`round ${round}`);
        stop.abort(reason);
        const ends = await Promise.all([put, get]);
        for (const end of ends) if (end !== 'done') assert.equal(end, reason);
        const after = Buffer.from(into);
        const { bytes } = await store.get('x');
        assert.equal(
          [old, fresh].some(whole => Buffer.compare(bytes, whole) === 0),
          true,
        );
        if (ends[0] === 'done') assert.equal(bytes[0], 2);
        assert.equal(Buffer.compare(after, into), 0);
      }
    });

    it('after close every call fails with ECLOSED; closing again is well', async () => {
      const { store, isRefusing = false } = await open();
      const running = store.put('x', [text('1')]).then(() => 'ok', codeOf);
      await store.close();
      // Closing ends the pauses between attempts: their calls fail with what they failed with.
      assert.ok((isRefusing ? ['ok', 'EUNAVAILABLE'] : ['ok']).includes((await running) ?? ''));
      await store.close();
      assert.equal(await rejectionOf(store.get('x')), 'ECLOSED');
      assert.equal(await rejectionOf(store.put('x', [])), 'ECLOSED');
      assert.equal(await rejectionOf(store.list({ limit: 1 })), 'ECLOSED');
      assert.equal(await rejectionOf(store.delete('x')), 'ECLOSED');
    });

    it('readers beside writers see whole objects of one version', async () => {
      const { store, other = store } = await open();
      const put = (value: number): Promise<{ version: string }> =>
        store.put('x', [new Uint8Array(70_000).fill(value), new Uint8Array(70_000).fill(value)]);
      await put(0);
      let running = true;
      const writing = (async () => {
        for (let value = 1; value <= 40; value += 1) await put(value);
        running = false;
      })();
      while (running) {
        const { bytes, sizeBytes } = await other.get('x');
        assert.deepEqual([bytes.byteLength, sizeBytes], [140_000, 140_000]);
        assert.equal(
          bytes.every(byte => byte === bytes[0]),
          true,
        );
      }
      await writing;
    });

    it('does what a plain map does, whatever the order of operations', async () => {
      const keys = ['a', 'a/b', 'A', 'b/c/d', 'a+', 'é'];
      for (let round = 0; round < MAP_ROUNDS; round += 1) {
        const chance = seededChance(seed + round);
        const { store } = await open();
        try {
          await compareToMap(store, randomOperations(chance, keys), declared);
        } catch (cause) {
          throw new Error(`with the seed ${seed + round}: ${messageOf(cause)}`, { cause });
        }
        await closeAll();
      }
    });

    if (declared.createIfAbsent === 'none') {
      it('conditions are refused, and nothing is put', async () => {
        const { store } = await open();
        const condition = { ifAbsent: true } as const;
        assert.equal(await rejectionOf(store.put('x', [], { condition })), 'EUNSUPPORTED');
        assert.equal(await rejectionOf(store.put('x', [], { condition: { ifMatch: '1' } })), 'EUNSUPPORTED');
        assert.equal(await rejectionOf(store.get('x')), 'EMISSING');
      });
      return;
    }

    it('of many that create one key exactly one succeeds, and its bytes stay', async () => {
      const { store, other = store } = await open();
      for (let round = 0; round < 5; round += 1) {
        const key = `race/${round}`;
        const ends = await Promise.all(
          Array.from({ length: 16 }, (_, at) =>
            (at % 2 === 0 ? store : other)
              .put(key, [text(`writer ${at}`)], { condition: { ifAbsent: true } })
              .then(
                ({ version }) => ({ at, version }),
                error => error.code,
              ),
          ),
        );
        const winners = ends.filter(end => typeof end === 'object');
        assert.equal(winners.length, 1);
        assert.equal(ends.filter(end => end === 'ECONFLICT').length, 15);
        const found = await store.get(key);
        assert.deepEqual(
          [textOf(found.bytes), found.version],
          [`writer ${winners[0].at}`, winners[0].version],
        );
      }
    });

    it('compare-and-swap loses no update', async () => {
      const { store, other = store } = await open();
      await store.put('counter', [text('0')]);
      const increment = async (client: ObjectStore): Promise<void> => {
        for (;;) {
          const { bytes, version } = await client.get('counter');
          const next = text(String(Number(textOf(bytes)) + 1));
          try {
            await client.put('counter', [next], { condition: { ifMatch: version } });
            return;
          } catch (error) {
            if (!isNetsealError(error) || error.code !== 'ECONFLICT') throw error;
            await sleep(Math.random() * 3);
          }
        }
      };
      await Promise.all(
        Array.from({ length: 8 }, async (_, at) => {
          for (let round = 0; round < 5; round += 1) await increment(at % 2 === 0 ? store : other);
        }),
      );
      assert.equal(textOf((await store.get('counter')).bytes), '40');
    });

    it('a swap of what is gone, or came back, is a conflict and changes nothing', async () => {
      const { store } = await open();
      const { version } = await store.put('x', [text('1')]);
      await store.delete('x');
      const condition = { ifMatch: version };
      assert.equal(await rejectionOf(store.put('x', [text('2')], { condition })), 'ECONFLICT');
      assert.equal(await rejectionOf(store.get('x')), 'EMISSING');
      await store.put('x', [text('1')]);
      assert.equal(await rejectionOf(store.put('x', [text('2')], { condition })), 'ECONFLICT');
      assert.equal(textOf((await store.get('x')).bytes), '1');
    });
  });
}

interface ModelOperation {
  readonly kind: string;
  readonly key: string;
  readonly size: number;
  readonly offset: number;
  readonly useOld: boolean;
}

async function compareGet(
  store: ObjectStore,
  key: string,
  offsetBytes: number,
  lengthBytes: number,
  present: ModelObject | undefined,
): Promise<void> {
  const get = store.get(key, { range: { offsetBytes, lengthBytes } });
  if (present === undefined) {
    assert.equal(await rejectionOf(get), 'EMISSING');
    return;
  }
  const found = await get;
  const expected = present.bytes.subarray(offsetBytes, offsetBytes + lengthBytes);
  assert.equal(Buffer.compare(found.bytes, expected), 0);
  assert.deepEqual([found.version, found.sizeBytes], [present.version, present.bytes.byteLength]);
}

async function compareStat(store: ObjectStore, key: string, present: ModelObject | undefined): Promise<void> {
  if (present === undefined) assert.equal(await rejectionOf(store.stat(key)), 'EMISSING');
  else assertFields(await store.stat(key), { version: present.version });
}

async function compareList(store: ObjectStore, model: ReadonlyMap<string, ModelObject>): Promise<void> {
  const expected = [...model].map(([name, object]) => [name, object.bytes.byteLength] as const);
  expected.sort(([left], [right]) => compareKeys(left, right));
  assert.deepEqual(
    (await listAll(store, 2)).map(entry => [entry.key, entry.sizeBytes]),
    expected,
  );
}

function conditionOf(
  kind: string,
  present: ModelObject | undefined,
  oldVersion: string,
): PutCondition | undefined {
  if (kind === 'create') return { ifAbsent: true };
  return kind === 'swap' ? { ifMatch: present?.version ?? oldVersion } : undefined;
}

function holdsFor(condition: PutCondition, present: ModelObject | undefined): boolean {
  return 'ifAbsent' in condition ? present === undefined : present?.version === condition.ifMatch;
}

async function compareToMap(
  store: ObjectStore,
  operations: readonly ModelOperation[],
  declared: Partial<StoreCapabilities>,
): Promise<void> {
  const model = new Map<string, ModelObject>();
  let count = 0;
  let oldVersion = 'never';
  for (const { kind, key, size, offset, useOld } of operations) {
    count += 1;
    const present = model.get(key);
    const bytes = new Uint8Array(size).fill(count);
    const parts = [bytes.subarray(0, offset), bytes.subarray(offset)];
    const keep = async (put: Promise<{ version: string }>): Promise<void> => {
      oldVersion = present?.version ?? oldVersion;
      model.set(key, { bytes, version: (await put).version });
    };
    const canCompare = declared.createIfAbsent !== 'none';
    if (kind === 'put') await keep(store.put(key, parts));
    const condition = canCompare ? conditionOf(kind, useOld ? undefined : present, oldVersion) : undefined;
    if (condition !== undefined) {
      const holds = holdsFor(condition, present);
      const put = store.put(key, parts, { condition });
      if (holds) await keep(put);
      else assert.equal(await rejectionOf(put), 'ECONFLICT');
    }
    if (kind === 'delete') {
      await store.delete(key);
      model.delete(key);
    }
    if (kind === 'get') await compareGet(store, key, offset, size, present);
    if (kind === 'stat') await compareStat(store, key, present);
    if (kind === 'list') await compareList(store, model);
  }
}
