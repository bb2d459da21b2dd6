/** Random operations on a store, compared with a plain map. */
import assert from 'node:assert/strict';
import { type Chance, seededChance } from '../../base/chance.ts';
import { messageOf } from '../../base/errors.ts';
import { compareKeys, type ObjectStore, type PutCondition, type StoreCapabilities } from '../store.ts';
import { assertFields, type Contract, listAll, rejectionOf } from './support.ts';

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

interface ModelObject {
  readonly bytes: Uint8Array;
  readonly version: string;
}

export function defineMap({ it, open, closeAll, declared, seed }: Contract): void {
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
