/** The command line: reads arguments, runs a command, prints one line for an error, sets the exit code. */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { isNetsealError, messageOf } from '../base/errors.ts';
import { benchCommand } from './bench.ts';
import { EXIT_BUG, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, exitCodeOf, isSystemError } from './exit-codes.ts';
import { openCommand, sealCommand } from './stream-commands.ts';

/** Runs one command line (without `node` and the script) and sets `process.exitCode`. Never rejects. */
export async function main(args: readonly string[]): Promise<void> {
  // A reader that closes our output early (`netseal ... | head`) is no error.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(EXIT_OK);
    throw error;
  });
  try {
    await createProgram().parseAsync(args, { from: 'user' });
  } catch (error) {
    process.exitCode = report(error);
  }
}

function createProgram(): Command {
  const program = new Command('netseal')
    .description('Compress, encrypt and cache in front of any storage.')
    .version(packageVersion())
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'netseal: ')) })
    .showHelpAfterError('(see netseal help)')
    .addCommand(sealCommand())
    .addCommand(openCommand())
    .addCommand(benchCommand());
  for (const command of [program, ...program.commands]) command.exitOverride();
  for (const command of program.commands) command.copyInheritedSettings(program);
  return program;
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
  else if (isNetsealError(error)) process.stderr.write(`netseal: ${error.message} (${error.code})\n`);
  else if (isSystemError(error)) process.stderr.write(`netseal: ${messageOf(error)}\n`);
  else process.stderr.write(`netseal: unexpected: ${messageOf(error)}; please report it\n`);
  if (code === EXIT_BUG && process.env.NETSEAL_DEBUG === '1') console.error(error);
  return code;
}
