/** Measures the start of a command: `netseal ls` as a whole process, against a Node that does nothing. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { ARGON2_COST_DEFAULT } from '../../src/keys/argon2.ts';
import { contest } from '../contest.ts';
import { commandEnvironment, commandScript } from '../package.ts';
import type { Measurement, Target } from '../target.ts';

const NODE = 'node -e 0';
const ARGON2 = 'node with Argon2';
const KEY_FILE = 'ls, key file';
const PASSPHRASE = 'ls, passphrase';

/** Derives a key as a slot of default cost does, with Node's own Argon2 where it has one. */
function argon2Script(): string {
  const { memoryKiB, passes, lanes } = ARGON2_COST_DEFAULT;
  const options = `{ message: 'a', nonce: Buffer.alloc(32), memory: ${memoryKiB}, passes: ${passes}, parallelism: ${lanes}, tagLength: 32 }`;
  return `require('node:crypto').argon2('argon2id', ${options}, error => { if (error) throw error; })`;
}

/** Runs this Node. Throws with what it printed when it fails. */
async function runNode(args: readonly string[]): Promise<void> {
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: commandEnvironment(),
  });
  let text = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`node ${args.join(' ')} ended with ${code}: ${text}`);
}

/** Makes a volume with both kinds of slots in the new folder. Returns the ways to list it. */
async function makeVolume(folder: string) {
  const script = commandScript();
  const [store, key, passphrase] = [`${folder}/store`, `${folder}/key`, `${folder}/passphrase`];
  await writeFile(key, Buffer.alloc(32, 5), { mode: 0o600 });
  await writeFile(passphrase, 'a passphrase for a bench\n', { mode: 0o600 });
  const rest = ['--state', `${folder}/state`];
  const withPassphrase = ['--passphrase-file', passphrase, ...rest];
  await runNode([script, 'init', store, ...withPassphrase]);
  await runNode([script, 'key', 'add', store, '--new-key-file', key, ...withPassphrase]);
  return {
    withKeyFile: [script, 'ls', store, '--key-file', key, ...rest],
    withPassphrase: [script, 'ls', store, ...withPassphrase],
  };
}

export const start: Target = {
  id: 'start',
  about: 'netseal ls of an empty volume as a process, against a Node that does nothing or only derives a key',
  measure: async size => {
    const folder = await mkdtemp(`${tmpdir()}/netseal-bench-start-`);
    try {
      const { withKeyFile, withPassphrase } = await makeVolume(folder);
      const { seconds } = await contest(
        [
          { name: NODE, run: () => runNode(['-e', '0']) },
          { name: KEY_FILE, run: () => runNode(withKeyFile) },
          { name: ARGON2, run: () => runNode(['-e', argon2Script()]) },
          { name: PASSPHRASE, run: () => runNode(withPassphrase) },
        ],
        size === 'real' ? 31 : 1,
      );
      const ms = (name: string): number => 1000 * (seconds.get(name) ?? Number.NaN);
      const detail = [...seconds.keys()].map(name => `${name} ${ms(name).toFixed(0)} ms`).join(', ');
      const row = (what: string, measured: number, bound: number): Measurement => ({
        what,
        measured,
        bound,
        sense: '<=',
        unit: 'ms',
        detail,
      });
      return [
        row('key file, above node', ms(KEY_FILE) - ms(NODE), 60),
        row('passphrase, above Argon2', ms(PASSPHRASE) - ms(ARGON2), 30),
      ];
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
};
