/**
 * A volume in a folder: sealed files and folders, with a few calls.
 *
 *   node volume.mjs                                     where netseal is installed
 *   npx node --conditions=netseal-source volume.mjs     in its own checkout
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createVolume, DirectoryStore, openStateFolder, openVolume, StoreMeter, wrapStore } from 'netseal';

const folder = await mkdtemp(join(tmpdir(), 'netseal-example-'));
const passphrase = 'correct horse battery staple';
const attributes = { mode: 0o644, uid: 0, gid: 0, mtimeNs: BigInt(Date.now()) * 1_000_000n, xattrs: [] };

// Anything that keeps named objects can be a store; wrapStore adds retries, limits and meters to any of them.
const meter = new StoreMeter();
const store = wrapStore(
  await DirectoryStore.open(join(folder, 'store'), { create: true }),
  { retry: {}, limit: { concurrency: 16 } },
  { meter },
);
const state = await openStateFolder(join(folder, 'state'), store.name);
try {
  const slots = [{ label: 'me', secret: { type: 'passphrase', passphrase } }];
  await createVolume({ store, slots, state });

  const volume = await openVolume({ store, secrets: { type: 'passphrase', passphrase }, state });
  try {
    const docs = volume.names.newDirectory({ ...attributes, mode: 0o755 }, volume.root.id);
    await volume.names.insertDirectory(volume.root, 'docs', docs);

    // Other clients see nothing of the file before its commit, and all of it afterwards.
    const writer = await volume.createFile('/docs/hello.txt', attributes);
    await writer.write(Buffer.from('hello, world\n'));
    await writer.commit();
    await writer.write(Buffer.from('HELLO'), 0);
    await writer.close();

    const reader = await volume.openFile('/docs/hello.txt');
    const bytes = Buffer.alloc(reader.sizeBytes);
    await reader.read(bytes, 0);
    const isSame = bytes.toString() === 'HELLO, world\n';
    console.log(isSame ? 'the same' : 'DIFFERENT');
    if (!isSame) process.exitCode = 1;

    for await (const entries of volume.names.entries(docs)) {
      for (const { name } of entries) console.log(`/docs/${Buffer.from(name, 'latin1')}`);
    }
  } finally {
    await volume.close();
  }
  console.log(`${meter.requestCount} requests to the store`);
} finally {
  await state.close();
  await store.close();
  await rm(folder, { recursive: true });
}
