/** The command line: reads arguments, runs a command, prints one line for an error, sets the exit code. */
import { readFileSync } from 'node:fs';
import { getSystemErrorMessage } from 'node:util';
import { Command, CommanderError } from 'commander';
import { isNetsealError, isSystemError, messageOf } from '../base/errors.ts';
import { listCommands, loadCommand } from './commands.ts';
import { EXIT_BUG, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, exitCodeOf } from './lib/exit-codes.ts';
import { printable } from './lib/printable.ts';

/** Runs one command line (without `node` and the script) and sets `process.exitCode`. Never rejects. */
export async function main(args: readonly string[]): Promise<void> {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    // A reader that closes our output early (`netseal ... | head`) is no error.
    process.exit(error.code === 'EPIPE' ? EXIT_OK : report(error));
  });
  // There is nobody to tell.
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

/** The program for this command line: all commands by name, and of those that it names all there is. */
async function createProgram(args: readonly string[]): Promise<Command> {
  const program = new Command('netseal')
    .description('Compress, encrypt and cache in front of any storage.')
    .version(packageVersion())
    .configureOutput({
      outputError: (text, write) => write(`netseal: ${oneLine(text)}; see "netseal help"\n`),
    });
  const named = args[0] === 'help' ? args[1] : args[0];
  for (const [name, summary] of listCommands()) {
    const command = name === named ? await loadCommand(name) : undefined;
    program.addCommand(command ?? new Command(name).summary(summary));
  }
  program.exitOverride();
  passSettingsOn(program);
  return program;
}

/** Commands that were made elsewhere, and those below them, report as the program does. */
function passSettingsOn(parent: Command): void {
  for (const command of parent.commands) {
    command.copyInheritedSettings(parent);
    passSettingsOn(command);
  }
}

/** Node 22 says that its SQLite is experimental when a lock is first taken. That is nothing for users to act on. */
function silenceSqliteWarning(): void {
  const emitWarning = process.emitWarning.bind(process) as (...args: unknown[]) => void;
  process.emitWarning = (warning: string | Error, ...rest: unknown[]): void => {
    const [type] = rest;
    if (type === 'ExperimentalWarning' && /^SQLite /.test(String(warning))) return;
    emitWarning(warning, ...rest);
  };
}

/**
 * Ends the process even while a thread waits for a named pipe that nobody writes to; `process.exit` would wait for it,
 * too. To a shell, death by SIGINT is exit code 130.
 */
function endSoon(): void {
  setTimeout(() => process.kill(process.pid, 'SIGINT'), 500).unref();
}

/** Commander's messages may go on, with a suggestion, on a second line. */
function oneLine(text: string): string {
  return text
    .replace(/^error: /, '')
    .trim()
    .replace(/\.?\s*\n/g, ' ')
    .replace(/\.$/, '');
}

/** Both the sources and their build lie below the package's folder, at different depths. */
function packageVersion(): string {
  const depth = import.meta.url.endsWith('.ts') ? '../..' : '../../..';
  const text = readFileSync(new URL(`${depth}/package.json`, import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

/** Says what went wrong in one line on standard error; returns the exit code. */
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
