/** The command line: reads arguments, runs a command, prints one line for an error, sets the exit code. */
import { readFileSync } from 'node:fs';
import { getSystemErrorMessage } from 'node:util';
import { Command, CommanderError } from 'commander';
import { isNetsealError, isSystemError, messageOf } from '../base/errors.ts';
import { COMMANDS } from './commands.ts';
import { addCommands } from './lib/command-table.ts';
import { EXIT_BUG, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, exitCodeOf } from './lib/exit-codes.ts';
import { printable } from './lib/printable.ts';

/** Runs one command line (without `node` and the script) and sets `process.exitCode`. Never rejects. */
export async function main(args: readonly string[]): Promise<void> {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    // A reader may close our output early, as in `netseal ... | head`. That is no error.
    process.exit(error.code === 'EPIPE' ? EXIT_OK : report(error));
  });
  // When standard error fails, there is nowhere left to report it.
  process.stderr.on('error', () => undefined);
  silenceSqliteWarning();
  try {
    const program = await createProgram(args);
    await program.parseAsync(args, { from: 'user' });
  } catch (error) {
    process.exitCode = report(error);
    if (process.exitCode === EXIT_INTERRUPTED) endSoon();
  }
}

/** Returns the program. Of the commands, only the one that `args` names is loaded. */
async function createProgram(args: readonly string[]): Promise<Command> {
  const program = new Command('netseal')
    .description('Compress, encrypt and cache in front of any storage.')
    .version(packageVersion())
    .configureOutput({
      outputError: (text, write) => write(`netseal: ${oneLine(text)}; see "netseal help"\n`),
    });
  await addCommands(program, COMMANDS, args);
  program.exitOverride();
  inheritSettings(program);
  return program;
}

/**
 * Makes all commands report errors as the program does: commander does this only for those that the program
 * creates itself.
 */
function inheritSettings(parent: Command): void {
  for (const command of parent.commands) {
    command.copyInheritedSettings(parent);
    inheritSettings(command);
  }
}

/**
 * Hides Node 22's warning that its SQLite is experimental, which it prints at the first lock: users cannot
 * act on it.
 */
function silenceSqliteWarning(): void {
  const emitWarning = process.emitWarning.bind(process) as (...args: unknown[]) => void;
  process.emitWarning = (warning: string | Error, ...rest: unknown[]): void => {
    const [type] = rest;
    if (type === 'ExperimentalWarning' && /^SQLite /.test(String(warning))) return;
    emitWarning(warning, ...rest);
  };
}

/**
 * Ends the process even while a thread waits for a named pipe that has no writer. `process.exit` would wait
 * for that thread. A shell reports death by SIGINT as exit code 130.
 */
function endSoon(): void {
  setTimeout(() => process.kill(process.pid, 'SIGINT'), 500).unref();
}

/** Joins the lines of a commander message: a suggestion may follow on a second line. */
function oneLine(text: string): string {
  return text
    .replace(/^error: /, '')
    .trim()
    .replace(/\.?\s*\n/g, ' ')
    .replace(/\.$/, '');
}

/**
 * Reads the version from package.json. The sources and their build lie at different depths below the
 * package's folder.
 */
function packageVersion(): string {
  const depth = import.meta.url.endsWith('.ts') ? '../..' : '../../..';
  const text = readFileSync(new URL(`${depth}/package.json`, import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

/** Writes what went wrong to standard error, in one line, and returns the exit code. */
function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === EXIT_OK ? EXIT_OK : EXIT_USAGE;
  const code = exitCodeOf(error);
  if (code === EXIT_INTERRUPTED) process.stderr.write('netseal: interrupted\n');
  else if (isNetsealError(error))
    process.stderr.write(`netseal: ${printable(error.message)} (${error.code})\n`);
  else if (isSystemError(error)) process.stderr.write(`netseal: ${printable(describeSystemError(error))}\n`);
  else process.stderr.write(`netseal: unexpected: ${printable(messageOf(error))}; please report it\n`);
  if (code === EXIT_BUG && process.env.NETSEAL_DEBUG === '1') console.error(error);
  return code;
}

function describeSystemError({ code, errno, path, syscall, message }: NodeJS.ErrnoException): string {
  const text = errno === undefined ? message : getSystemErrorMessage(errno);
  return `${path ?? `cannot ${syscall}`}: ${text} (${code})`;
}
