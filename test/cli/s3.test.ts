/** Commands on a volume in a bucket, by its URL, on a real server. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { EXIT_IO, EXIT_NOT_FOUND, EXIT_OK, EXIT_USAGE } from '../../src/cli/lib/exit-codes.ts';
import { mixedBytes } from '../pipeline/support.ts';
import { describeOnRgw } from '../server/servers.ts';
import { type Finished, run } from './run.ts';

describeOnRgw(server => {
  let folder = '';
  let count = 0;
  let store = '';

  function netseal(client: string, ...args: string[]): Promise<Finished> {
    const { accessKeyId, secretAccessKey } = server().credentials;
    const env = {
      AWS_ACCESS_KEY_ID: accessKeyId,
      AWS_SECRET_ACCESS_KEY: secretAccessKey,
      NETSEAL_STATE: join(folder, `state-${client}`),
      NETSEAL_STORE: store,
    };
    const secret = args[0] === 'probe' ? [] : ['--key-file', 'key'];
    return run([...args, ...secret], { cwd: folder, env });
  }

  async function succeed(client: string, ...args: string[]): Promise<string> {
    const { exitCode, stdout, stderr } = await netseal(client, ...args);
    expect(exitCode, stderr).toBe(EXIT_OK);
    return stdout.toString();
  }

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'netseal-s3-'));
    writeFileSync(join(folder, 'key'), mixedBytes(32, 9));
    count += 1;
    const bucket = `cli-${process.pid}-${count}`;
    const { endpoint, credentials } = server();
    const client = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, credentials });
    await client.send(new CreateBucketCommand({ Bucket: bucket }));
    client.destroy();
    store = `s3://${bucket}/some/prefix?endpoint=${endpoint}`;
    await succeed('one', 'init', store);
  });

  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  it('what one client has put, another gets', async () => {
    const tree = join(folder, 'tree');
    await mkdir(join(tree, 'a'), { recursive: true });
    const large = mixedBytes(20_000_000, 1);
    await writeFile(join(tree, 'a', 'large'), large);
    for (let at = 0; at < 50; at += 1) await writeFile(join(tree, `small-${at}`), `small ${at}`);
    await succeed('one', 'put', '-r', 'tree', ':/');
    expect(await succeed('two', 'ls', `${store}:/tree/a`)).toBe('large\n');
    await succeed('two', 'get', '-r', ':/tree', 'out');
    expect(Buffer.compare(await readFile(join(folder, 'out', 'a', 'large')), large)).toBe(0);
    expect(await readFile(join(folder, 'out', 'small-49'), 'utf8')).toBe('small 49');
    expect(await succeed('one', 'verify', store)).toMatch(/no damage|whole|nothing/i);
    await succeed('one', 'rm', '-r', ':/tree');
    await succeed('two', 'gc', store);
    expect(await succeed('two', 'ls', ':/')).toBe('');
  });

  it('clients that put into one folder at once lose no name', async () => {
    await succeed('one', 'mkdir', ':/d');
    const names = Array.from({ length: 6 }, (_, at) => `file-${at}`);
    for (const name of names) await writeFile(join(folder, name), name);
    await Promise.all(names.map(name => succeed(name, 'put', name, ':/d/')));
    expect(await succeed('one', 'ls', ':/d')).toBe(`${names.join('\n')}\n`);
    for (const name of names) expect(await succeed('one', 'cat', `:/d/${name}`)).toBe(name);
  });

  it('probe tells that several clients may write', async () => {
    const { stdout, exitCode } = await netseal('one', 'probe', store, '--json');
    expect(exitCode).toBe(EXIT_OK);
    expect(JSON.parse(stdout.toString())).toMatchObject({
      isSafe: true,
      createIfAbsent: 'atomic',
      replaceIfMatch: 'atomic',
    });
  });

  it('what is wrong is said in one line, without secrets', async () => {
    const { endpoint } = server();
    const ends = await Promise.all([
      netseal('one', 'ls', `s3://no-such-bucket?endpoint=${endpoint}:/`),
      netseal('one', 'ls', `${store.replace('/some/prefix', '/other')}:/`),
      netseal('one', 'ls', 's3://key:hunter2@bucket:/'),
      run(['ls', ':/', '--key-file', 'key'], {
        cwd: folder,
        env: {
          NETSEAL_STORE: store,
          NETSEAL_STATE: join(folder, 'x'),
          AWS_ACCESS_KEY_ID: 'test',
          AWS_SECRET_ACCESS_KEY: 'hunter2',
        },
      }),
    ]);
    expect(ends.map(({ exitCode }) => exitCode)).toEqual([EXIT_USAGE, EXIT_NOT_FOUND, EXIT_USAGE, EXIT_IO]);
    for (const { stderr } of ends) {
      expect(stderr).toMatch(/^netseal: .*\n$/);
      expect(stderr).not.toContain('hunter2');
    }
    expect(ends[0]?.stderr).toContain('no-such-bucket');
    expect(ends[3]?.stderr).toContain('SignatureDoesNotMatch');
  });
});
