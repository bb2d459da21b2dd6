/** Other programs that netseal is compared with, each as the commands that a person would type. */
import { execFile, execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);
const PASSPHRASE = 'a passphrase for a bench';

/** Where a program keeps its data, and how it copies a file or folder in and out. */
export interface Peer {
  readonly name: string;
  /** The commands that it needs. */
  readonly commands: readonly string[];
  /** What the times leave out, in words: the start, of a program that is mounted. */
  readonly leavesOut?: string;
  /** Makes an empty place for data in `home`, a folder that is there and empty. */
  prepare(home: string): Promise<void>;
  /** Copies `source` in. */
  put(home: string, source: string): Promise<void>;
  /** Copies what was put last to `target`, which is not there. */
  get(home: string, target: string): Promise<void>;
  /** Undoes what outlives `prepare`: mounts. */
  end?(home: string): Promise<void>;
}

/** Runs a program without its output. Throws with that when it fails. */
async function runQuietly(
  command: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv } = {},
): Promise<void> {
  await run(command, args, { ...options, maxBuffer: 64 * 1024 * 1024 });
}

/** True when the command is installed. */
export function isInstalled(command: string): boolean {
  try {
    execFileSync('sh', ['-c', 'command -v "$0"', command], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

export const copy: Peer = {
  name: 'cp -r',
  commands: ['cp'],
  prepare: () => Promise.resolve(),
  put: (home, source) => runQuietly('cp', ['-r', source, `${home}/data`]),
  get: (home, target) => runQuietly('cp', ['-r', `${home}/data`, target]),
};

const RESTIC = { ...process.env, RESTIC_PASSWORD: PASSPHRASE };

export const restic: Peer = {
  name: 'restic',
  commands: ['restic'],
  prepare: home => runQuietly('restic', ['-r', `${home}/repo`, 'init'], { env: resticEnvironment(home) }),
  put: (home, source) =>
    runQuietly('restic', ['-r', `${home}/repo`, 'backup', source], { env: resticEnvironment(home) }),
  get: (home, target) =>
    runQuietly('restic', ['-r', `${home}/repo`, 'restore', 'latest', '--target', target], {
      env: resticEnvironment(home),
    }),
};

function resticEnvironment(home: string): NodeJS.ProcessEnv {
  return { ...RESTIC, RESTIC_CACHE_DIR: `${home}/cache` };
}

function borgEnvironment(home: string): NodeJS.ProcessEnv {
  return { ...process.env, BORG_PASSPHRASE: PASSPHRASE, BORG_BASE_DIR: `${home}/base` };
}

export const borg: Peer = {
  name: 'borg',
  commands: ['borg'],
  prepare: home =>
    runQuietly('borg', ['init', '-e', 'repokey-blake2', `${home}/repo`], { env: borgEnvironment(home) }),
  put: (home, source) =>
    runQuietly('borg', ['create', '-C', 'zstd,1', `${home}/repo::a`, source], { env: borgEnvironment(home) }),
  get: async (home, target) => {
    await mkdir(target);
    await runQuietly('borg', ['extract', `${home}/repo::a`], { cwd: target, env: borgEnvironment(home) });
  },
};

function rcloneEnvironment(home: string): NodeJS.ProcessEnv {
  const password = execFileSync('rclone', ['obscure', PASSPHRASE], { encoding: 'utf8' }).trim();
  return {
    ...process.env,
    RCLONE_CONFIG: `${home}/none`,
    RCLONE_CONFIG_SEALED_TYPE: 'crypt',
    RCLONE_CONFIG_SEALED_REMOTE: `${home}/data`,
    RCLONE_CONFIG_SEALED_PASSWORD: password,
  };
}

export const rclone: Peer = {
  name: 'rclone crypt',
  commands: ['rclone'],
  prepare: async home => {
    await mkdir(`${home}/data`);
    await writeFile(`${home}/none`, '');
  },
  put: (home, source) =>
    runQuietly('rclone', ['copy', source, 'sealed:', '--transfers', '8'], { env: rcloneEnvironment(home) }),
  get: (home, target) =>
    runQuietly('rclone', ['copy', 'sealed:', target, '--transfers', '8'], { env: rcloneEnvironment(home) }),
};

/** A program that mounts its data as a folder, which files are copied into and out of. */
function mounted(name: string, commands: readonly string[], mount: (home: string) => Promise<void>): Peer {
  return {
    name,
    commands: [...commands, 'fusermount3'],
    leavesOut: 'start and mount',
    prepare: async home => {
      await mkdir(`${home}/sealed`);
      await mkdir(`${home}/mount`);
      await writeFile(`${home}/passphrase`, PASSPHRASE);
      await mount(home);
    },
    put: (home, source) => runQuietly('cp', ['-r', source, `${home}/mount/data`]),
    get: (home, target) => runQuietly('cp', ['-r', `${home}/mount/data`, target]),
    end: home => runQuietly('fusermount3', ['-u', `${home}/mount`]),
  };
}

export const gocryptfs: Peer = mounted('gocryptfs', ['gocryptfs'], async home => {
  const passphrase = ['-q', '-passfile', `${home}/passphrase`];
  await runQuietly('gocryptfs', ['-init', '-scryptn', '10', ...passphrase, `${home}/sealed`]);
  await runQuietly('gocryptfs', [...passphrase, `${home}/sealed`, `${home}/mount`]);
});

export const securefs: Peer = mounted('securefs', ['securefs'], async home => {
  await runQuietly('securefs', ['create', `${home}/sealed`, '--pass', PASSPHRASE]);
  const args = ['mount', '-b', '--pass', PASSPHRASE, `${home}/sealed`, `${home}/mount`];
  spawn('securefs', args, { stdio: 'ignore' });
  await mountedAt(`${home}/mount`);
});

/** Resolves when something is mounted at `path`. Throws after ten seconds. */
async function mountedAt(path: string): Promise<void> {
  for (let tries = 0; tries < 200; tries += 1) {
    const isThere = await run('mountpoint', ['-q', path]).then(
      () => true,
      () => false,
    );
    if (isThere) return;
    await new Promise(resolve => setTimeout(resolve, 50));
  }
  throw new Error(`nothing was mounted at ${path}`);
}

/** Empties a peer's folder and prepares it anew. */
export async function renew(peer: Peer, home: string): Promise<void> {
  if (existsSync(home)) {
    await peer.end?.(home);
    await rm(home, { recursive: true });
  }
  await mkdir(home);
  await peer.prepare(home);
}
