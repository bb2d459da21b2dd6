/** Starting and ending the programs of real servers. */
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

/** Where daemons lie that are not in the path of people. */
const MORE_FOLDERS = ['/usr/sbin', '/usr/local/sbin'];
const WAIT_MS = 60_000;
const END_MS = 10_000;

const execute = promisify(execFile);

/** Returns the path of a program; undefined when it is not installed. */
export function programPath(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), ...MORE_FOLDERS];
  return folders.map(folder => join(folder, name)).find(path => existsSync(path));
}

/** Runs a program to its end. Rejects with what it printed when it fails. */
export async function run(
  name: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<string> {
  const path = programPath(name);
  if (path === undefined) throw new Error(`${name} is not installed`);
  const { stdout } = await execute(path, args, { env: { ...process.env, ...env } });
  return stdout;
}

/** Returns `count` ports of this machine that nobody listens on, one after the other. */
export async function freePorts(count: number): Promise<number> {
  for (let tries = 0; tries < 100; tries += 1) {
    const first = 20_000 + Math.floor(Math.random() * 10_000);
    const free = await Promise.all(Array.from({ length: count }, (_, at) => isFree(first + at)));
    if (free.every(Boolean)) return first;
  }
  throw new Error('no port is free');
}

function isFree(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

/** Waits until `isUp` says so. */
export async function untilUp(what: string, isUp: () => Promise<boolean>): Promise<void> {
  for (const endMs = Date.now() + WAIT_MS; Date.now() < endMs; await sleep(100)) {
    if (await isUp().catch(() => false)) return;
  }
  throw new Error(`${what} does not come up`);
}

/** Ends the daemon that has written its number into a file, and waits for it. */
export async function endDaemon(pidPath: string, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  if (!existsSync(pidPath)) return;
  const pid = Number(readFileSync(pidPath, 'utf8'));
  if (!isAlive(pid)) return;
  process.kill(pid, signal);
  for (const endMs = Date.now() + END_MS; isAlive(pid) && Date.now() < endMs; ) await sleep(50);
  if (isAlive(pid)) process.kill(pid, 'SIGKILL');
}

/** False also for one that has ended and whose parent has not asked yet. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/^State:\s*Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
