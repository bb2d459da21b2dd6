/** Answers that this session's own commits overtake: asked for again, but not for ever. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { GetResult, ObjectStore } from '../../src/server/store.ts';
import { verifyVolume } from '../../src/volume/care/verify.ts';
import type { Volume } from '../../src/volume/volume.ts';
import { aroundStore, codeOf, makeFolder, namesIn, TestVolume } from './support.ts';

/** No test goes on for longer. */
const OVERTAKEN_MAX = 500;

let test: TestVolume;

beforeEach(async () => {
  test = await TestVolume.create();
});

afterEach(async () => {
  await test.close();
});

/** A client whose answers about the root come after a commit of its own; from `isOld` on they are the first one ever. */
async function overtaken(
  times: number,
  isOld: (count: number) => boolean = () => false,
): Promise<{ volume: Volume; count: () => number; begin: () => void }> {
  let volume: Volume | undefined;
  let isOn = false;
  let isCommitting = false;
  let count = 0;
  let first: GetResult | undefined;
  const around = (store: ObjectStore): ObjectStore =>
    aroundStore(store, async call => {
      const answer = await call.send();
      const isRoot = call.operation === 'get' && call.key === `i/${volume?.settings.rootId}`;
      if (!isOn || !isRoot || volume === undefined || isCommitting) return answer;
      first ??= answer as GetResult;
      if (count < Math.min(times, OVERTAKEN_MAX)) {
        count += 1;
        isCommitting = true;
        await makeFolder(volume, `/${count}`);
        isCommitting = false;
      }
      return isOld(count) ? (first as typeof answer) : answer;
    });
  ({ volume } = await test.client({ around, freshMs: 60_000 }));
  await makeFolder(volume, '/0');
  const begin = (): void => {
    isOn = true;
  };
  return { volume, count: () => count, begin };
}

describe('an answer that a commit has overtaken', () => {
  it('is asked for again', async () => {
    const { volume, count, begin } = await overtaken(3);
    begin();
    const { entryCount } = await volume.root.read(0);
    expect([entryCount, count()]).toEqual([4, 3]);
    expect(await namesIn(volume, '/')).toEqual(['0', '1', '2', '3']);
  });

  it('is asked for again so often, then ECONFLICT', async () => {
    const { volume, count, begin } = await overtaken(Number.POSITIVE_INFINITY);
    begin();
    expect(await codeOf(volume.root.read(0))).toBe('ECONFLICT');
    expect(count()).toBe(64);
    // That is no damage.
    expect(await codeOf(verifyVolume(volume))).toBe('ECONFLICT');
    expect(count()).toBe(128);
  });

  it('is EROLLBACK once it is older than what was known when it was asked for', async () => {
    const { volume, count, begin } = await overtaken(Number.POSITIVE_INFINITY, () => true);
    begin();
    expect(await codeOf(volume.root.read(0))).toBe('EROLLBACK');
    expect(count()).toBe(2);
    const { damages } = await verifyVolume(volume);
    expect(damages.map(({ error }) => error.code)).toEqual(['EROLLBACK']);
  });
});

describe('a list', () => {
  it('whose pages do not go on is EUNAVAILABLE', async () => {
    const pages = [{ next: 's/b' }, { next: 's/c' }, { next: 's/c' }];
    let asked = 0;
    const stuck = (store: ObjectStore): ObjectStore =>
      aroundStore(store, async call => {
        const answer = await call.send();
        if (call.operation !== 'list' || call.key !== 's/' || asked > OVERTAKEN_MAX) return answer;
        const page = pages[Math.min(asked, pages.length - 1)];
        asked += 1;
        return { ...answer, ...page };
      });
    const { volume } = await test.client({ around: stuck });
    expect(await codeOf(verifyVolume(volume))).toBe('EUNAVAILABLE');
    expect(asked).toBe(3);
  });
});
