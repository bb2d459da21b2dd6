/** Calls: what is aborted, closed, or beside another call leaves whole objects. */
import assert from 'node:assert/strict';
import { codeOf } from '../../base/errors.ts';
import { type Contract, rejectionOf, text, textOf } from './support.ts';

export function defineCalls({ it, open }: Contract): void {
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
    // Closing ends the pauses between attempts. The calls then fail with the error of their last attempt.
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
}

async function assertRejectsWith(promise: Promise<unknown>, reason: unknown): Promise<void> {
  const end = await promise.then(
    () => 'the call resolved',
    error => error,
  );
  assert.equal(end, reason);
}
