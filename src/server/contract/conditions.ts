/** Conditions: of many writers of one key one is first, and the others learn it. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { isNetsealError } from '../../base/errors.ts';
import type { ObjectStore } from '../store.ts';
import { type Contract, rejectionOf, text, textOf } from './support.ts';

/** For a store that declares conditions. */
export function defineConditions({ it, open }: Contract): void {
  it('of many that create one key exactly one succeeds, and its bytes stay', async () => {
    const { store, other = store, mayLoseAnswers = false } = await open();
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
      const losers = ends.filter(end => end === 'ECONFLICT' || (mayLoseAnswers && end === 'EUNCERTAIN'));
      assert.equal(losers.length, 15);
      const found = await store.get(key);
      assert.deepEqual([textOf(found.bytes), found.version], [`writer ${winners[0].at}`, winners[0].version]);
    }
  });

  it('compare-and-swap loses no update', async () => {
    const { store, other = store, mayLoseAnswers = false } = await open();
    await store.put('list', [text('')]);
    await Promise.all(
      Array.from({ length: 8 }, async (_, at) => {
        for (let round = 0; round < 5; round += 1)
          await append(at % 2 === 0 ? store : other, `(${at}-${round})`, mayLoseAnswers);
      }),
    );
    const names = textOf((await store.get('list')).bytes).match(/\(\d-\d\)/g) ?? [];
    assert.equal(names.length, 40);
    assert.equal(new Set(names).size, 40);
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
}

/**
 * Appends a name to a list by compare-and-swap. After an uncertain swap it looks whether the name is there.
 */
async function append(store: ObjectStore, name: string, mayLoseAnswers: boolean): Promise<void> {
  for (let isUncertain = false; ; ) {
    const { bytes, version } = await store.get('list');
    const names = textOf(bytes);
    if (isUncertain && names.includes(name)) return;
    const end = await store.put('list', [text(names + name)], { condition: { ifMatch: version } }).then(
      () => 'done',
      (error: unknown) => error,
    );
    if (end === 'done') return;
    const code = isNetsealError(end) ? end.code : undefined;
    isUncertain ||= mayLoseAnswers && code === 'EUNCERTAIN';
    if (code !== 'ECONFLICT' && !isUncertain) throw end;
    await sleep(Math.random() * 3);
  }
}

/** For a store that declares that it has none. */
export function defineNoConditions({ it, open }: Contract): void {
  it('conditions are refused, and nothing is put', async () => {
    const { store } = await open();
    const condition = { ifAbsent: true } as const;
    assert.equal(await rejectionOf(store.put('x', [], { condition })), 'EUNSUPPORTED');
    assert.equal(await rejectionOf(store.put('x', [], { condition: { ifMatch: '1' } })), 'EUNSUPPORTED');
    assert.equal(await rejectionOf(store.get('x')), 'EMISSING');
  });
}
