/**
 * An S3 client that is there already, wrapped: what it stores is sealed, cached on this machine and edited in the middle.
 *
 *   AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=... node s3-cached.mjs http://127.0.0.1:7480 my-bucket
 *
 * In the checkout: npm run servers -- start rgw, then with --conditions=netseal-source.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { S3Client } from '@aws-sdk/client-s3';
import { createVolume, openCache, openS3Store, openVolume, wrapStore } from 'netseal';

const [endpoint, bucket] = process.argv.slice(2);
const secret = { type: 'passphrase', passphrase: 'correct horse battery staple' };
const folder = await mkdtemp(join(tmpdir(), 'netseal-example-'));
const s3 = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true });
const store = wrapStore(await openS3Store({ client: s3, bucket, prefix: `example-${process.pid}` }), {
  retry: {},
});
const cache = await openCache(
  `${folder}/cache`,
  { budgetBytes: 2 ** 28 },
  { key: { slots: [{ label: 'me', secret }] } },
);

await createVolume({ store, slots: [{ label: 'me', secret }] });
const volume = await openVolume({ store, secrets: secret, cache });
await volume.fs.writeFile('/table.db', Buffer.alloc(8_000_000, 'netseal '));
const file = await volume.fs.open('/table.db', 'r+');
await file.write(Buffer.from('a new row'), { position: 4_000_000 });
await file.close();

const content = (await volume.fs.readFile('/table.db')).toString('latin1');
console.log(
  `${content.slice(3_999_992, 4_000_016)}: ${content.length === 8_000_000 ? 'the same' : 'DIFFERENT'} length`,
);
await volume.close();
await cache.close();
await store.close();
s3.destroy();
await rm(folder, { recursive: true });
