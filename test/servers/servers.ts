/**
 * Brings up real servers on this machine, for tests and to try things: `npm run servers -- start rgw`.
 *
 *   start rgw [--port N] [--dir DIR] [--bluestore]   prints how to use it
 *   stop rgw [--dir DIR]
 */
import { mkdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { hasRgw, RGW_PROGRAMS, startRgw, stopRgw } from './rgw.ts';

const PORT_DEFAULT = 7480;
const BUCKET = 'netseal';

async function start(folder: string, port: number, isLasting: boolean): Promise<void> {
  if (!hasRgw()) {
    throw new Error(
      `Ceph is not installed (${RGW_PROGRAMS.join(', ')}): apt-get install --no-install-recommends ceph-mon ceph-osd radosgw`,
    );
  }
  mkdirSync(folder, { recursive: true });
  const { endpoint, credentials } = await startRgw(folder, port, isLasting ? 'bluestore' : 'memstore');
  const client = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, credentials });
  try {
    await client.send(new CreateBucketCommand({ Bucket: BUCKET }));
  } catch (error) {
    if (!(error instanceof Error && error.name === 'BucketAlreadyOwnedByYou')) throw error;
  } finally {
    client.destroy();
  }
  console.log(`export AWS_ACCESS_KEY_ID=${credentials.accessKeyId}`);
  console.log(`export AWS_SECRET_ACCESS_KEY=${credentials.secretAccessKey}`);
  console.log(`export NETSEAL_STORE='s3://${BUCKET}?endpoint=${endpoint}'`);
}

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    port: { type: 'string' },
    dir: { type: 'string' },
    bluestore: { type: 'boolean', default: false },
  },
});
const [action, server = 'rgw'] = positionals;
const folder = resolve(values.dir ?? join(tmpdir(), 'netseal-servers', server));
if (server !== 'rgw' || (action !== 'start' && action !== 'stop')) {
  console.error('use: npm run servers -- start|stop rgw [--port N] [--dir DIR] [--bluestore]');
  process.exitCode = 2;
} else if (action === 'start') {
  await start(folder, Number(values.port ?? PORT_DEFAULT), values.bluestore);
} else {
  await stopRgw(folder);
  if (values.dir === undefined) rmSync(folder, { recursive: true, force: true });
}
