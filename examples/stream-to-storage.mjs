/**
 * The pipeline alone, in front of a storage client of your own: anything that stores and returns streams of bytes. Here
 * that client is a folder; put your S3, WebDAV or SFTP calls in its place.
 *
 *   node stream-to-storage.mjs [FILE]                                     where netseal is installed
 *   npx node --conditions=netseal-source stream-to-storage.mjs [FILE]     in its own checkout
 */
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { createVolumeHeader, openPipeline, openStream, sealStream, unlockVolumeHeader } from 'netseal';

const folder = await mkdtemp(join(tmpdir(), 'netseal-example-'));

// Your storage client: it never sees a plain byte.
const storage = {
  put: (name, stream) => stream.pipeTo(Writable.toWeb(createWriteStream(join(folder, name)))),
  get: name => Readable.toWeb(createReadStream(join(folder, name))),
};

const file = process.argv[2] ?? new URL(import.meta.url).pathname;
const passphrase = 'correct horse battery staple';

// A volume has one header, which holds its keys under your passphrase; store it beside the data.
const created = await createVolumeHeader({
  slots: [{ label: 'me', secret: { type: 'passphrase', passphrase } }],
});
const pipeline = await openPipeline();
try {
  const keys = pipeline.addKeyring(created.keyring);
  await storage.put(
    'object',
    Readable.toWeb(createReadStream(file)).pipeThrough(sealStream({ pipeline, keys })),
  );
  pipeline.removeKeyring(keys);

  // Later, elsewhere: the header and the passphrase are enough.
  const unlocked = await unlockVolumeHeader(created.bytes, { type: 'passphrase', passphrase });
  const sameKeys = pipeline.addKeyring(unlocked.keyring);
  const opened = storage.get('object').pipeThrough(openStream({ pipeline, keys: sameKeys }));
  const chunks = await Array.fromAsync(opened);
  const isSame = Buffer.concat(chunks).equals(await readFile(file));

  const { size: sealedBytes } = await stat(join(folder, 'object'));
  const { size: plainBytes } = await stat(file);
  console.log(`${plainBytes} bytes stored as ${sealedBytes}, read back ${isSame ? 'the same' : 'DIFFERENT'}`);
  if (!isSame) process.exitCode = 1;
} finally {
  await pipeline.close();
  await rm(folder, { recursive: true });
}
