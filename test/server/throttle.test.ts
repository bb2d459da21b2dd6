/** A store that keeps to a rate, on average, in both directions. */
import { describe, expect, it } from 'vitest';
import { NetsealError } from '../../src/base/errors.ts';
import { MemoryStore } from '../../src/server/memory-store.ts';
import { throttleStore } from '../../src/server/throttle.ts';
import { codeOf } from '../volume/support.ts';
import { VirtualTime } from './virtual-time.ts';

const BYTES = new Uint8Array(1000);

describe('a throttled store', () => {
  it.each(['put', 'get'] as const)('takes the time of its bytes: %s', async what => {
    const time = new VirtualTime();
    const inner = new MemoryStore();
    const store = throttleStore(inner, { bytesPerSecond: 500 }, { scheduler: time });
    for (let at = 0; at < 20; at += 1) await inner.put(`k${at}`, [BYTES]);
    const startedMs = time.now();
    const all = Promise.all(
      Array.from({ length: 20 }, (_, at) =>
        what === 'put' ? store.put(`k${at}`, [BYTES]) : store.get(`k${at}`),
      ),
    );
    await time.run(all.then(() => store.put('last', [])));
    // The time of 20,000 bytes. Answers of unknown length count late, so gets at once may begin together.
    expect(time.now() - startedMs).toBeGreaterThanOrEqual(38_000);
    expect(time.now() - startedMs).toBeLessThanOrEqual(42_000);
  });

  it('does not save up time in which nothing was asked for', async () => {
    const time = new VirtualTime();
    const store = throttleStore(new MemoryStore(), { bytesPerSecond: 500 }, { scheduler: time });
    await time.run(time.sleep(1_000_000));
    const startedMs = time.now();
    await time.run(
      store
        .put('a', [BYTES])
        .then(() => store.put('b', [BYTES]))
        .then(() => store.put('c', [])),
    );
    expect(time.now() - startedMs).toBe(4000);
  });

  it('ends waits when it is aborted or closed', async () => {
    const time = new VirtualTime();
    const store = throttleStore(new MemoryStore(), { bytesPerSecond: 1 }, { scheduler: time });
    await store.put('a', [BYTES]);
    const controller = new AbortController();
    const aborted = codeOf(store.put('b', [BYTES], { signal: controller.signal }));
    controller.abort(new NetsealError('ECLOSED', 'stop'));
    expect(await aborted).toBe('ECLOSED');
    const closed = codeOf(store.put('c', [BYTES]));
    await store.close();
    expect(await closed).toBe('ECLOSED');
  });
});
