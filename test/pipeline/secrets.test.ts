/** Where keys go, and where they do not. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { messageOf } from '../../src/base/errors.ts';
import { randomBytes } from '../../src/base/random.ts';
import { Keyring } from '../../src/keys/keyring.ts';
import { openPipeline } from '../../src/pipeline/pipeline.ts';
import { mixedBytes, sealAll } from './support.ts';
import { finish, openWith, send } from './workers.ts';

afterEach(() => {
  vi.unstubAllGlobals();
  vi.unstubAllEnvs();
});

/** Every block of shared memory that is made from now on. */
function recordSharedMemory(): SharedArrayBuffer[] {
  const made: SharedArrayBuffer[] = [];
  const Real = SharedArrayBuffer;
  vi.stubGlobal(
    'SharedArrayBuffer',
    new Proxy(Real, {
      construct(target, [lengthBytes]: [number]) {
        const memory = new target(lengthBytes);
        made.push(memory);
        return memory;
      },
    }),
  );
  return made;
}

describe('keys', () => {
  it('reach a worker in no message and no start data: those hold sizes, names and shared memory only', async () => {
    const { pipeline, keys } = await openWith('tell', { workers: 1 });
    const error = await finish(await send(pipeline, keys, 1)).catch(thrown => thrown);
    await pipeline.close();
    expect(error).toMatchObject({ code: 'EUNSUPPORTED' });
    const shared = expect.stringMatching(/^\d+ shared bytes$/);
    const both = { plain: shared, sealed: shared };
    const { workerData, request } = JSON.parse(messageOf(error));
    expect(workerData).toEqual({
      memory: { jobs: shared, keys: shared, sealing: both, opening: both },
      providers: {},
    });
    expect(request).toEqual({ type: 'job', jobOffset: 0 });
  });

  it('and other secrets of the environment do not reach a worker', async () => {
    vi.stubEnv('NETSEAL_PASSPHRASE', 'not for workers');
    const { pipeline, keys } = await openWith('tell', { workers: 1 });
    const error = await finish(await send(pipeline, keys, 1)).catch(thrown => thrown);
    await pipeline.close();
    const { env } = JSON.parse(messageOf(error));
    const others = Object.keys(env).filter(name => !name.startsWith('PISCINA_'));
    // Where Node keeps compiled code, if it does.
    expect(others.filter(name => name !== 'NODE_COMPILE_CACHE')).toEqual([]);
  });

  it.each([0, 2])(
    'lie in shared memory once while a pipeline of %d workers is open, and nowhere after close',
    async workers => {
      const made = recordSharedMemory();
      const epochKeys = [randomBytes(32), randomBytes(32)];
      const pipeline = await openPipeline({ workers });
      const keyring = new Keyring(randomBytes(16), new Map(epochKeys.map((key, at) => [at + 1, key])));
      const keys = pipeline.addKeyring(keyring);
      await sealAll(pipeline, keys, [{ bytes: mixedBytes(5000, 1) }]);
      const places = (): number[] =>
        epochKeys.map(key => made.filter(memory => Buffer.from(memory).includes(Buffer.from(key))).length);
      expect(places()).toEqual([1, 1]);
      const table = made.find(memory => Buffer.from(memory).includes(Buffer.from(epochKeys[0]!)));
      await pipeline.close();
      expect(places()).toEqual([0, 0]);
      expect(new Uint8Array(table!, 64).every(byte => byte === 0)).toBe(true);
    },
  );

  it('removed are gone from shared memory at once', async () => {
    const made = recordSharedMemory();
    const pipeline = await openPipeline({ workers: 0 });
    const key = randomBytes(32);
    const keys = pipeline.addKeyring(new Keyring(randomBytes(16), new Map([[1, key]])));
    const isThere = (): boolean => made.some(memory => Buffer.from(memory).includes(Buffer.from(key)));
    expect(isThere()).toBe(true);
    pipeline.removeKeyring(keys);
    expect(isThere()).toBe(false);
    pipeline.removeKeyring(keys);
    await pipeline.close();
  });
});
