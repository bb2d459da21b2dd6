/** Runs `bin/netseal.js` of the built package as a user's shell would: with a folder and an environment of its own. */
import { type ChildProcess, type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';
import { PACKAGE } from '../../bench/package.ts';

/** Built before the first test; see `test/build-package.ts`. */
export const SCRIPT: string = `${PACKAGE}bin/netseal.js`;
/** Runs the sources, and hands over to the checkout's own Node. */
export const CHECKOUT_SCRIPT: string = fileURLToPath(new URL('../../bin/netseal.js', import.meta.url));

/** Plays a terminal, which needs Python. */
const TERMINAL = fileURLToPath(new URL('terminal.py', import.meta.url));
export const HAS_PYTHON: boolean = spawnSync('python3', ['--version']).status === 0;

export interface RunOptions {
  readonly cwd: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly input?: Uint8Array | string;
  readonly nodeArgs?: readonly string[];
  readonly script?: string;
}

export interface Finished {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** The exit code as a shell tells it: a command that a thread would keep waiting ends itself by SIGINT. */
export function exitOf({ exitCode, signal }: Finished): number | null {
  return signal === 'SIGINT' ? 128 + constants.signals.SIGINT : exitCode;
}

export function launch(args: readonly string[], options: RunOptions): ChildProcessWithoutNullStreams {
  const { NETSEAL_PASSPHRASE: _, ...inherited } = process.env;
  const { cwd, env = {}, nodeArgs = [], script = SCRIPT } = options;
  // Sessions of their own have no terminal to ask for a passphrase on.
  return spawn(process.execPath, [...nodeArgs, script, ...args], {
    ...{ cwd, env: { ...inherited, ...env }, detached: true },
  });
}

export async function finish(child: ChildProcessWithoutNullStreams): Promise<Finished> {
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', chunk => stdout.push(chunk));
  child.stderr.on('data', chunk => stderr.push(chunk));
  const [exitCode, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  return { exitCode, signal, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString() };
}

/** A command for `fixtures/command-server.ts`. */
export interface ServedCommand {
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
}

export interface ServedResult {
  readonly exitCode: number;
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
}

/** What a command may be told by the environment without a process of its own: it is read when the command runs. */
const SERVED_VARIABLES =
  /^(NETSEAL_(PASSPHRASE(_FILE|_COMMAND)?|KEY_FILE|STATE|STORE)|XDG_STATE_HOME|HOME|TZ)$/;
const MAIN = `${PACKAGE}dist/cli.js`;
const SERVER = fileURLToPath(new URL('fixtures/command-server.ts', import.meta.url));
let server: ChildProcess | undefined;
let isServing = false;

/**
 * Runs a command to its end. Where that makes no difference to the command, it runs in a process that serves all of a
 * test file: one after another, without input.
 */
export async function run(args: readonly string[], options: RunOptions): Promise<Finished> {
  const { env = {}, input, nodeArgs, script } = options;
  const isPlain = input === undefined && nodeArgs === undefined && script === undefined;
  const isServed = isPlain && Object.keys(env).every(name => SERVED_VARIABLES.test(name));
  return isServed && !isServing ? await serve(args, options) : await runAlone(args, options);
}

async function serve(args: readonly string[], { cwd, env = {} }: RunOptions): Promise<Finished> {
  isServing = true;
  const done = new AbortController();
  try {
    server ??= startServer();
    const { NETSEAL_PASSPHRASE: _, ...inherited } = process.env;
    const command: ServedCommand = { args, cwd, env: { ...inherited, ...env } };
    const ended = once(server, 'exit', { signal: done.signal }).then(([code, signal]) => {
      throw new Error(`the server of commands ended at ${args.join(' ')}: ${code ?? signal}`);
    });
    ended.catch(() => undefined);
    const answered = once(server, 'message') as Promise<[ServedResult]>;
    server.send(command);
    const [{ exitCode, stdout, stderr }] = await Promise.race([answered, ended]);
    return { exitCode, signal: null, stdout: Buffer.from(stdout), stderr: Buffer.from(stderr).toString() };
  } finally {
    done.abort();
    isServing = false;
  }
}

function startServer(): ChildProcess {
  const child = spawn(process.execPath, [SERVER, MAIN], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    serialization: 'advanced',
    detached: true,
  });
  child.setMaxListeners(0);
  // It ends with this process, whose end closes the channel.
  child.unref();
  child.channel?.unref();
  return child;
}

/** Runs a command in a process of its own. */
export function runAlone(args: readonly string[], options: RunOptions): Promise<Finished> {
  const child = launch(args, options);
  // A command that ends before it has read everything is no fault of the test.
  child.stdin.on('error', () => undefined);
  child.stdin.end(options.input ?? '');
  return finish(child);
}

/** Runs a shell line in which `netseal` is the command. */
export function shell(line: string, options: RunOptions): Promise<Finished> {
  const { NETSEAL_PASSPHRASE: _, ...inherited } = process.env;
  const text = `netseal() { "${process.execPath}" "${SCRIPT}" "$@"; }; ${line}`;
  return finish(
    spawn('bash', ['-c', text], { cwd: options.cwd, env: { ...inherited, ...options.env }, detached: true }),
  );
}

/** Runs a command on a terminal on which somebody types `answers`. What the terminal shows is in `stdout`. */
export function onTerminal(
  answers: readonly string[],
  args: readonly string[],
  { cwd, env = {} }: Pick<RunOptions, 'cwd' | 'env'>,
): Promise<Finished> {
  const { NETSEAL_PASSPHRASE: _, ...inherited } = process.env;
  const command = [process.execPath, SCRIPT, ...args];
  return finish(
    spawn('python3', [TERMINAL, JSON.stringify(answers), ...command], { cwd, env: { ...inherited, ...env } }),
  );
}
