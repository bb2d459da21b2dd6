/** Every example runs as its first lines say. */
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { expect, it } from 'vitest';
import { describeOnRgw } from '../server/servers.ts';
import { IS_LONG } from '../support/soak.ts';

const folder = fileURLToPath(new URL('../../examples/', import.meta.url));
/** Needs a server. */
const S3_EXAMPLE = 's3-cached.mjs';
const examples = readdirSync(folder).filter(name => name.endsWith('.mjs') && name !== S3_EXAMPLE);

it('there are examples', () => {
  expect(examples.length).toBeGreaterThan(0);
});

function run(name: string, args: readonly string[] = [], env: NodeJS.ProcessEnv = {}): void {
  const command = ['--conditions=netseal-source', `${folder}${name}`, ...args];
  const output = execFileSync(process.execPath, command, {
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });
  expect(output).toContain('the same');
  expect(output).not.toContain('DIFFERENT');
}

it.runIf(IS_LONG).each(examples)('%s', name => {
  run(name);
});

describeOnRgw(server => {
  it(S3_EXAMPLE, async () => {
    const { endpoint, credentials } = server();
    const client = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, credentials });
    await client.send(new CreateBucketCommand({ Bucket: 'examples' }));
    client.destroy();
    const { accessKeyId: AWS_ACCESS_KEY_ID, secretAccessKey: AWS_SECRET_ACCESS_KEY } = credentials;
    run(S3_EXAMPLE, [endpoint, 'examples'], { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY });
  });
});
