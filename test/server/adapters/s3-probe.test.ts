/** Probes of real S3 servers: one that has conditions, and one that ignores them. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import S3rver from 's3rver';
import { expect, it } from 'vitest';
import { openS3Store } from '../../../src/server/adapters/s3-store.ts';
import { probeStore } from '../../../src/server/probe.ts';
import { freePorts } from '../../servers/run.ts';
import { describeOnRgw } from '../servers.ts';

const BUCKET = 'probed';

function newClient(
  endpoint: string,
  credentials: { accessKeyId: string; secretAccessKey: string },
): S3Client {
  return new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, credentials });
}

describeOnRgw(server => {
  it('Ceph creates and replaces atomically, small objects and large ones', async () => {
    const { endpoint, credentials } = server();
    const clients = [newClient(endpoint, credentials), newClient(endpoint, credentials)] as const;
    await clients[0].send(new CreateBucketCommand({ Bucket: BUCKET }));
    const [store, other] = await Promise.all(clients.map(client => openS3Store({ bucket: BUCKET, client })));
    const report = await probeStore(store!, { other: other! });
    expect(report.checks.filter(({ holds }) => !holds)).toEqual([]);
    expect(report).toMatchObject({ createIfAbsent: 'atomic', replaceIfMatch: 'atomic', isSound: true });
    expect(Math.abs(report.clockAheadMs ?? Number.NaN)).toBeLessThan(10_000);
    for (const client of clients) client.destroy();
  });
});

it('s3rver, which ignores conditions of PUT, is found out', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'netseal-s3rver-'));
  const port = await freePorts(1);
  const server = new S3rver({
    port,
    address: '127.0.0.1',
    silent: true,
    directory,
    configureBuckets: [{ name: BUCKET, configs: [] }],
  });
  await server.run();
  const client = newClient(`http://127.0.0.1:${port}`, { accessKeyId: 'S3RVER', secretAccessKey: 'S3RVER' });
  try {
    const store = await openS3Store({ bucket: BUCKET, client });
    const report = await probeStore(store, { largeBytes: 0 });
    expect(report).toMatchObject({ createIfAbsent: 'none', replaceIfMatch: 'none' });
    expect(report.checks.flatMap(({ problem = [] }) => problem)).toContain('the object was replaced');
  } finally {
    client.destroy();
    await server.close();
    rmSync(directory, { recursive: true, force: true });
  }
});
