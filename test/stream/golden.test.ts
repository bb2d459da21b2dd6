/** Streams that were sealed once and are kept: today's code must open them. */
import { readFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { openPipeline } from '../../src/pipeline/pipeline.ts';
import { decodeStreamHeader } from '../../src/pipeline/stream-format.ts';
import { GOLDEN_EPOCH, GOLDEN_STREAMS, goldenKeyring, goldenPlain } from '../../vectors/stream/generate.ts';
import { expectOpens, partsOf } from './support.ts';

it.each(GOLDEN_STREAMS)('$file', async ({ file, suite, plainBytes }) => {
  const sealed = new Uint8Array(await readFile(new URL(`../../vectors/stream/${file}`, import.meta.url)));
  expect(decodeStreamHeader(sealed)).toMatchObject({ suite, unitSizeBytes: 4096, epoch: GOLDEN_EPOCH });
  expect(partsOf(sealed).records).toHaveLength(Math.max(1, Math.ceil(plainBytes / 4096)));
  for (const choice of ['native', 'portable'] as const) {
    await using pipeline = await openPipeline({
      workers: 0,
      providers: { codecs: choice, ciphers: choice },
    });
    const keys = pipeline.addKeyring(goldenKeyring());
    await expectOpens({ pipeline, keys }, sealed, goldenPlain(plainBytes));
  }
});
