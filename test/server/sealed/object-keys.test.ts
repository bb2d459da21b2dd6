/** Where the store has a volume's objects, and back. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { listAll } from '../../../src/server/list-all.ts';
import { MemoryStore } from '../../../src/server/memory-store.ts';
import {
  CANDIDATES_PREFIX,
  HEAD_PREFIX,
  HEADER_KEY,
  idOfKey,
  inodeKey,
  keyOfStored,
  ORDER_PREFIX,
  parseKeyScheme,
  SEGMENT_PREFIX,
  segmentKey,
  storedKey,
} from '../../../src/server/sealed/object-keys.ts';
import { withKeyScheme } from '../../../src/server/sealed/spread-keys.ts';
import { compareKeys, type ObjectStore } from '../../../src/server/store.ts';
import { errorCodeOf } from '../../support/errors.ts';
import { checkProperty } from '../../support/property.ts';

const ID = '00112233445566778899aabbccddeeff';
const ids = fc.bigInt({ min: 0n, max: 2n ** 128n - 1n }).map(id => id.toString(16).padStart(32, '0'));
const keys = fc.oneof(
  ids.map(segmentKey),
  ids.map(inodeKey),
  ids.map(id => HEAD_PREFIX + id),
  ids.map(id => CANDIDATES_PREFIX + id),
  ids.map(id => ORDER_PREFIX + id),
  fc.constant(HEADER_KEY),
);

it.each([
  [segmentKey(ID), `s/00/${ID}`],
  [inodeKey(ID), `i/00/${ID}`],
  [HEAD_PREFIX + ID, HEAD_PREFIX + ID],
  [CANDIDATES_PREFIX + ID, CANDIDATES_PREFIX + ID],
  [ORDER_PREFIX + ID, ORDER_PREFIX + ID],
  [HEADER_KEY, HEADER_KEY],
])('hex2 has %s at %s', (key, stored) => {
  expect(storedKey(key, 'hex2')).toBe(stored);
  expect(keyOfStored(stored, 'hex2')).toBe(key);
  expect(storedKey(key, 'flat')).toBe(key);
  expect(keyOfStored(key, 'flat')).toBe(key);
});

it('stored keys are in the order of the keys, and lead back', () => {
  checkProperty(fc.tuple(keys, keys, fc.constantFrom('flat', 'hex2')), ([one, other, scheme]) => {
    const [left, right] = [storedKey(one, scheme), storedKey(other, scheme)];
    expect(Math.sign(compareKeys(left, right))).toBe(Math.sign(compareKeys(one, other)));
    expect(keyOfStored(left, scheme)).toBe(one);
    // Saying it twice says no more.
    expect(storedKey(left, scheme)).toBe(left);
  });
});

it.each([
  `s/${ID}`,
  `i/${ID}`,
  's/00',
  's/00/',
  's/00/junk',
  `s/01/${ID}`,
  `s/00/${ID}0`,
  `s/00/x/${ID}`,
  `s/0/${ID}`,
  `i/00/${ID.toUpperCase()}`,
])('no key of a volume with hex2 leads to %s', stored => {
  expect(keyOfStored(stored, 'hex2')).toBeUndefined();
});

it('schemes by name', () => {
  expect([parseKeyScheme('flat'), parseKeyScheme('hex2')]).toEqual(['flat', 'hex2']);
  for (const text of ['', 'hex', 'FLAT', 'hex4', 5 as unknown as string]) {
    expect(errorCodeOf(() => parseKeyScheme(text))).toBe('EINVAL');
  }
});

/** A store whose pages are short. */
function inPages(inner: ObjectStore, limit: number): ObjectStore {
  const list: ObjectStore['list'] = options => inner.list({ ...options, limit });
  return Object.assign(Object.create(inner) as ObjectStore, {
    get: inner.get.bind(inner),
    put: inner.put.bind(inner),
    stat: inner.stat.bind(inner),
    delete: inner.delete.bind(inner),
    list,
  });
}

it('a store with hex2 keys reads, writes and lists as one with flat keys, page by page, beside strange objects', async () => {
  const inner = new MemoryStore();
  const store = withKeyScheme(inPages(inner, 7), 'hex2');
  const some = Array.from({ length: 100 }, (_, at) =>
    (at * 1_234_567).toString(16).padStart(32, `${at % 10}`),
  );
  for (const id of some) await store.put(segmentKey(id), [Buffer.from(id)]);
  for (const key of [segmentKey(ID), `s/00/junk`, 's/zz', `s/ff/${ID}`]) await inner.put(key, [Buffer.of(1)]);
  const seen: string[] = [];
  for await (const { key } of listAll(store, SEGMENT_PREFIX)) seen.push(idOfKey(key, SEGMENT_PREFIX) ?? key);
  expect(seen).toEqual([...some].sort());
  const [first = ''] = some;
  expect(Buffer.from((await store.get(segmentKey(first))).bytes).toString()).toBe(first);
  const { version } = await inner.stat(`s/${first.slice(0, 2)}/${first}`);
  expect((await store.stat(segmentKey(first))).version).toBe(version);
  await store.put(segmentKey(first), [Buffer.of(2)], { condition: { ifMatch: version } });
  await store.delete(segmentKey(first));
  await expect(inner.stat(`s/${first.slice(0, 2)}/${first}`)).rejects.toMatchObject({ code: 'EMISSING' });
  expect(withKeyScheme(inner, 'flat')).toBe(inner);
});
