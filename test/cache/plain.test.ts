import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { utf8 } from '../../src/base/bytes.ts';
import { PlainCache } from '../../src/cache/plain.ts';
import { openPipeline } from '../../src/pipeline/pipeline.ts';
import { KIB, newFolder, openTestCache } from './support.ts';

const OBJECT = { server: utf8('https://plain.example'), name: utf8('report.txt'), version: utf8('"etag-1"') };

describe('plain data', () => {
  it('comes back as it was for the same version, and is sealed in between', async () => {
    const folder = newFolder();
    const pipeline = await openPipeline({ workers: 0 });
    const text = utf8('a line that must not be readable\n'.repeat(3000));
    let cache = await openTestCache(folder);
    let plain = new PlainCache(cache, pipeline, 64 * KIB);
    const units = [0, 1].map(index => ({
      index,
      bytes: text.subarray(index * 64 * KIB, (index + 1) * 64 * KIB),
    }));
    expect(await plain.put(OBJECT, units)).toBe(2);
    expect(await plain.put(OBJECT, units)).toBe(0);
    plain.close();
    await cache.close();
    for (const name of readdirSync(`${folder}/zones`)) {
      expect(readFileSync(`${folder}/zones/${name}`).includes('must not be readable')).toBe(false);
    }
    cache = await openTestCache(folder);
    plain = new PlainCache(cache, pipeline, 64 * KIB);
    const [first, none, second] = await plain.get(OBJECT, [0, 7, 1]);
    expect(none).toBeUndefined();
    expect(Buffer.concat([first!, second!]).equals(text)).toBe(true);
    expect(await plain.get({ ...OBJECT, version: utf8('"etag-2"') }, [0])).toEqual([undefined]);
    expect(await plain.get({ ...OBJECT, server: utf8('https://plain.exampl') }, [0])).toEqual([undefined]);
    plain.invalidate(OBJECT);
    expect(await plain.get(OBJECT, [0, 1])).toEqual([undefined, undefined]);
    plain.close();
    await pipeline.close();
  });

  it('is no longer served after the block that used it, and closing again does nothing', async () => {
    const pipeline = await openPipeline({ workers: 0 });
    const cache = await openTestCache(newFolder());
    let kept: PlainCache | undefined;
    {
      using plain = new PlainCache(cache, pipeline, 4 * KIB);
      kept = plain;
      expect(await plain.put(OBJECT, [{ index: 0, bytes: utf8('x') }])).toBe(1);
    }
    await expect(kept.get(OBJECT, [0])).rejects.toMatchObject({ code: 'ECLOSED' });
    kept.close();
    await pipeline.close();
  });
});
