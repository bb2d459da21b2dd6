/**
 * A volume with a local cache in front of its store. After a restart, a second process reads the same from the cache: it fetches
 * no segment. A file is edited in the middle meanwhile, which sends only what was changed.
 *
 *   node cached-volume.mjs                                     where netseal is installed
 *   npx node --conditions=netseal-source cached-volume.mjs     in its own checkout
 */
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createVolume, DirectoryStore, openCache, openVolume, StoreMeter } from 'netseal';

const MIB = 1024 * 1024;
const secret = { type: 'passphrase', passphrase: 'correct horse battery staple' };
const digestOf = bytes => createHash('sha256').update(bytes).digest('hex');

/** Opens store, cache and volume, and counts the segments that are fetched: content lies in those. */
async function withVolume(folder, work) {
  const store = await DirectoryStore.open(`${folder}/store`, { create: true });
  const cache = await openCache(
    `${folder}/cache`,
    { budgetBytes: 256 * MIB },
    { key: { slots: [{ label: 'me', secret }] } },
  );
  let fetched = 0;
  const meter = new StoreMeter(({ operation, key }) => {
    if (operation === 'get' && key.startsWith('s/')) fetched += 1;
  });
  const volume = await openVolume({ store: meter.wrap(store), secrets: secret, cache });
  try {
    await work(volume.fs);
  } finally {
    await volume.close();
    await cache.close();
    await store.close();
  }
  return fetched;
}

if (process.argv[2] === 'read') {
  // The second process: store, cache and secret are all that it has.
  let digest = '';
  const fetched = await withVolume(process.argv[3], async fs => {
    digest = digestOf(await fs.readFile('/table.db'));
  });
  console.log(`${digest} ${fetched}`);
} else {
  const folder = await mkdtemp(join(tmpdir(), 'netseal-example-'));
  try {
    const store = await DirectoryStore.open(`${folder}/store`, { create: true });
    await createVolume({ store, slots: [{ label: 'me', secret }] });
    await store.close();
    const table = randomBytes(MIB);
    await withVolume(folder, async fs => {
      await fs.writeFile('/table.db', table);
      const file = await fs.open('/table.db', 'r+');
      await file.write(Buffer.from('a new row'), { position: 300_000 });
      await file.close();
    });
    table.write('a new row', 300_000);
    const output = execFileSync(
      process.execPath,
      [...process.execArgv, fileURLToPath(import.meta.url), 'read', folder],
      { encoding: 'utf8' },
    );
    const [digest, fetched] = output.trim().split(' ');
    console.log(
      `after a restart: ${digest === digestOf(table) ? 'the same' : 'DIFFERENT'}, ${fetched} segments fetched`,
    );
    if (fetched !== '0') process.exitCode = 1;
  } finally {
    await rm(folder, { recursive: true });
  }
}
