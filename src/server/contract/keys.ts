/** Keys and lists: every valid key is an object of its own, and lists have them in order. */
import assert from 'node:assert/strict';
import { KEY_BYTES_MAX } from '../store.ts';
import { assertFields, type Contract, listAll, rejectionOf, text, textOf } from './support.ts';

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

export function defineKeys({ it, open }: Contract): void {
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
}
