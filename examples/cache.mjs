/**
 * A cache that is sealed on the disk, in front of a slow server with plain data. After a restart, reads hit the cache, and a
 * changed unit that no server has yet is still there.
 *
 *   node cache.mjs                                     where netseal is installed
 *   npx node --conditions=netseal-source cache.mjs     in its own checkout
 */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Keyring, openCache, openPipeline, PlainCache } from 'netseal';

const UNIT_BYTES = 64 * 1024;

/** Stands for a server: plain objects with versions, 20 ms for a request. */
const source = {
  requestCount: 0,
  async read(name, index) {
    this.requestCount += 1;
    await sleep(20);
    return createHash('shake256', { outputLength: UNIT_BYTES }).update(`${name}/${index}`).digest();
  },
  version: () => Buffer.from('etag-1'),
};

/** Reads units of an object: from the cache what it has, the rest from the server. */
async function readUnits(plain, name, indexes) {
  const object = {
    server: Buffer.from('https://files.example'),
    name: Buffer.from(name),
    version: source.version(name),
  };
  const units = await plain.get(object, indexes);
  const missing = indexes.filter((_, at) => units[at] === undefined);
  const fetched = await Promise.all(
    missing.map(async index => ({ index, bytes: await source.read(name, index) })),
  );
  await plain.put(object, fetched);
  for (const { index, bytes } of fetched) units[indexes.indexOf(index)] = bytes;
  return units;
}

const folder = join(await mkdtemp(join(tmpdir(), 'netseal-example-')), 'cache');
const key = {
  slots: [{ label: 'me', secret: { type: 'passphrase', passphrase: 'correct horse battery staple' } }],
};
const indexes = Array.from({ length: 32 }, (_, index) => index);
const pipeline = await openPipeline({ workers: 2 });
try {
  // The first start makes the cache. Its files on the disk are all sealed.
  let cache = await openCache(folder, { budgetBytes: 256 * 2 ** 20 }, { key });
  let plain = new PlainCache(cache, pipeline, UNIT_BYTES);
  let startMs = performance.now();
  const first = await readUnits(plain, 'films/one', indexes);
  console.log(`cold: ${source.requestCount} requests, ${Math.round(performance.now() - startMs)} ms`);

  // A changed unit that no server has yet. It is sealed once, and is on the disk when appendDirty resolves.
  const keyring = Keyring.create();
  const keys = pipeline.addKeyring(keyring);
  const lease = await pipeline.reservePlain(UNIT_BYTES);
  lease.bytes.fill('changed ');
  const objectId = randomBytes(16);
  const place = { kind: 'unit', objectId, index: 0, unitSizeBytes: UNIT_BYTES };
  const batch = await pipeline.seal({
    keys,
    from: lease,
    units: [{ ...place, offsetBytes: 0, lengthBytes: UNIT_BYTES }],
  });
  const [{ bytes, tag }] = batch.units;
  const sealed = Buffer.from(bytes);
  const expectedTag = Buffer.from(tag);
  batch.release();
  lease.release();
  const unit = { volumeId: keyring.volumeId, objectId, index: 0, bytes: sealed };
  await cache.appendDirty({ units: [unit], payload: Buffer.from('upload me') });
  plain.close();
  await cache.close();

  // After a restart everything is there, with the settings.
  cache = await openCache(folder, {}, { key });
  plain = new PlainCache(cache, pipeline, UNIT_BYTES);
  startMs = performance.now();
  const again = await readUnits(plain, 'films/one', indexes);
  const { hits, misses, budgetBytes } = cache.statistics;
  const ms = Math.round(performance.now() - startMs);
  console.log(
    `after a restart: ${hits} hits, ${misses} misses, ${ms} ms; budget ${budgetBytes / 2 ** 20} MiB`,
  );
  const isSame = again.every((unitBytes, at) => Buffer.compare(unitBytes, first[at]) === 0);

  const into = Buffer.alloc(sealed.length);
  for await (const { id, payload } of cache.listDirty()) {
    const volume = cache.volume(keyring.volumeId);
    const [lengthBytes] = await volume.get([{ objectId, index: 0, expectedTag, into }]);
    console.log(`not on the server yet: batch ${id}, "${Buffer.from(payload)}", ${lengthBytes} bytes`);
    // ... send it, and then:
    await cache.releaseDirty([id]);
  }
  const isDirtySame = into.equals(sealed) && cache.statistics.dirtyBatches === 0;
  console.log(isSame && isDirtySame ? 'the same' : 'DIFFERENT');
  if (!isSame || !isDirtySame) process.exitCode = 1;
  plain.close();
  await cache.close();
} finally {
  await pipeline.close();
  await rm(join(folder, '..'), { recursive: true });
}
