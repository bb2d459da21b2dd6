/** The command line: reads arguments, runs a command, prints one line for an error, sets the exit code. */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { withPath } from '../system/errors.ts';
import { COMMANDS } from './commands.ts';
import { addCommands } from './lib/command-table.ts';
import { EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE } from './lib/exit-codes.ts';
import { checkArguments } from './lib/given-text.ts';
import { chooseReports, reportError, reportUsage } from './lib/report.ts';

/** Runs one command line (without `node` and the script) and sets `process.exitCode`. Never rejects. */
export async function main(args: readonly string[]): Promise<void> {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    // A reader may close our output early, as in `netseal ... | head`. That is no error.
    process.exit(error.code === 'EPIPE' ? EXIT_OK : reportError(withPath('standard output', error)));
  });
  // When standard error fails, there is nowhere left to report it.
  process.stderr.on('error', () => undefined);
  silenceSqliteWarning();
  chooseReports(args);
  try {
    checkArguments(args);
    const program = await createProgram(args);
    await program.parseAsync(args, { from: 'user' });
  } catch (error) {
    process.exitCode = error instanceof CommanderError ? exitCodeOfCommander(error) : reportError(error);
    if (process.exitCode === EXIT_INTERRUPTED) endSoon();
  }
}

/** Returns the program. Of the commands, only the one that `args` names is loaded. */
async function createProgram(args: readonly string[]): Promise<Command> {
  const program = new Command('netseal')
    .description('Compress, encrypt and cache in front of any storage.')
    .version(packageVersion())
    .configureOutput({
      outputError: text => reportUsage(usageText(program, text)),
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
    command.configureOutput({
      ...parent.configureOutput(),
      outputError: text => reportUsage(usageText(command, text), helpOf(command)),
    });
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

/** Returns the name of a command as people type it: `netseal key add`. */
function fullName(command: Command): string {
  return command.parent === null ? command.name() : `${fullName(command.parent)} ${command.name()}`;
}

function helpOf(command: Command): string {
  return `${fullName(command)} --help`;
}

/** Returns commander's message with what the command would take instead. */
function usageText(command: Command, text: string): string {
  const message = oneLine(text);
  if (message.startsWith('missing required argument')) {
    return `${message}; usage: ${fullName(command)} ${command.usage()}`;
  }
  // Commander has found one that is spelt much alike.
  if (!message.startsWith('unknown command') || message.includes('(Did you mean ')) return message;
  return `${message}; ${fullName(command)} has ${command.commands.map(child => child.name()).join(', ')}`;
}

/** Joins the lines of a commander message: a suggestion may follow on a second line. */
function oneLine(text: string): string {
  return text
    .replace(/^error: /, '')
    .trim()
    .replace(/\.?\s*\n(?=\(Did you mean )/, ' ')
    .replace(/\.$/, '');
}

/** Commander has written its message already. Help that was asked for is no error. */
function exitCodeOfCommander({ exitCode }: CommanderError): number {
  return exitCode === EXIT_OK ? EXIT_OK : EXIT_USAGE;
}

/**
 * Reads the version from package.json. The sources and their build lie at different depths below the
 * package's folder.
 */
function packageVersion(): string {
  const depth = import.meta.url.endsWith('.ts') ? '../..' : '..';
  const text = readFileSync(new URL(`${depth}/package.json`, import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
