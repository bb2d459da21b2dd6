/** `netseal probe`: is a store safe for several writers? */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { EXIT_NOT_FOUND, EXIT_OK, EXIT_USAGE } from '../../src/cli/lib/exit-codes.ts';
import { run } from './run.ts';
import { env, folder, useVolume } from './volume-support.ts';

useVolume();

it('tries a store without any secret, and leaves nothing', async () => {
  const { exitCode, stdout, stderr } = await run(['probe', 'vol'], { cwd: folder, env: env() });
  expect([exitCode, stderr]).toEqual([EXIT_OK, '']);
  expect(stdout.toString()).toMatch(/^yes {2}an object comes back as it was put$/m);
  expect(stdout.toString()).toMatch(/^writers at once {6}any number$/m);
  const { stdout: json } = await run(['probe', 'vol', '--json'], { cwd: folder, env: env() });
  expect(JSON.parse(json.toString())).toMatchObject({
    isSafe: true,
    isSound: true,
    clockAheadMs: expect.any(Number),
  });
  const left = readdirSync(join(folder, 'vol', 'objects'), { recursive: true, withFileTypes: true });
  expect(left.filter(entry => entry.isFile() && entry.parentPath.includes('probe'))).toEqual([]);
});

it('needs a store, and not a path in it', async () => {
  expect(await run(['probe', 'none'], { cwd: folder, env: env() })).toMatchObject({
    exitCode: EXIT_NOT_FOUND,
  });
  expect(await run(['probe', 'vol:/x'], { cwd: folder, env: env() })).toMatchObject({ exitCode: EXIT_USAGE });
});
