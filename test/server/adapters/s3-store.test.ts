/** S3 stores on a real server: Ceph's gateway. */
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, vi } from 'vitest';
import { openS3Store } from '../../../src/server/adapters/s3-store.ts';
import type { ObjectStore } from '../../../src/server/store.ts';
import type { StoreUnderTest } from '../../../src/server/store-contract.ts';
import { describeStore } from '../describe-store.ts';
import { describeOnRgw } from '../servers.ts';

describeOnRgw(server => {
  let count = 0;

  async function newBucket(client: S3Client): Promise<string> {
    count += 1;
    const bucket = `contract-${process.pid}-${count}`;
    await client.send(new CreateBucketCommand({ Bucket: bucket }));
    return bucket;
  }

  function newClient(): S3Client {
    const { endpoint, credentials } = server();
    return new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, credentials });
  }

  beforeAll(() => {
    const { accessKeyId, secretAccessKey } = server().credentials;
    vi.stubEnv('AWS_ACCESS_KEY_ID', accessKeyId);
    vi.stubEnv('AWS_SECRET_ACCESS_KEY', secretAccessKey);
  });
  afterAll(() => {
    vi.unstubAllEnvs();
  });

  const declared = { createIfAbsent: 'atomic', replaceIfMatch: 'atomic', serverClock: true } as const;
  const make = async (
    open: (bucket: string, client: S3Client) => Promise<ObjectStore>,
  ): Promise<StoreUnderTest> => {
    const client = newClient();
    const bucket = await newBucket(client);
    return {
      store: await open(bucket, client),
      other: await open(bucket, client),
      mayLoseAnswers: true,
      remove: async () => client.destroy(),
    };
  };
  describeStore(
    'an S3 store',
    () => make(bucket => openS3Store({ bucket, endpoint: server().endpoint })),
    declared,
  );
  describeStore(
    'an S3 store by the client of another',
    () => make((bucket, client) => openS3Store({ bucket, client })),
    declared,
  );
});
