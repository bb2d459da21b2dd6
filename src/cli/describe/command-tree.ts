/**
 * Describes all commands as plain data, read from commander's definitions. Completion, the man page and the
 * tables of options are made from it.
 */
import { type Argument, Command, type Option } from 'commander';
import { addCommands, type CommandTable } from '../lib/command-table.ts';

/** A command, or a group of commands. */
export interface CommandInfo {
  /** Its name with those of its groups: `['cache', 'key', 'add']`. Empty for the program. */
  readonly words: readonly string[];
  /** What the command does, in half a sentence, for lists of commands. */
  readonly summary: string;
  readonly description: string;
  /** The text below the options in its help. */
  readonly notes: string;
  readonly arguments: readonly ValueInfo[];
  readonly options: readonly OptionInfo[];
  /** The commands of a group; empty for a command. */
  readonly commands: readonly CommandInfo[];
}

/** An argument, or the value of an option. */
export interface ValueInfo {
  readonly name: string;
  readonly description: string;
  readonly isRequired: boolean;
  readonly isVariadic: boolean;
  /** The only words that it may be, if there are few. */
  readonly choices: readonly string[];
}

export interface OptionInfo {
  readonly short: string | undefined;
  readonly long: string | undefined;
  readonly description: string;
  readonly value: ValueInfo | undefined;
  readonly defaultText: string | undefined;
  /** Whether it can be given several times. */
  readonly isRepeatable: boolean;
}

/** Loads all commands of a table and describes the program that has them. */
export async function describeCommands(table: CommandTable): Promise<CommandInfo> {
  const program = new Command('netseal').version('');
  return describe(await addCommands(program, table, 'all'), []);
}

/** Returns the command and all below it, groups before what is in them. */
export function allCommands(command: CommandInfo): CommandInfo[] {
  return [command, ...command.commands.flatMap(allCommands)];
}

function describe(command: Command, words: readonly string[]): CommandInfo {
  return {
    words,
    summary: command.summary() || command.description(),
    description: command.description(),
    notes: notesOf(command),
    arguments: command.registeredArguments.map(describeArgument),
    // With --help, and with -h where no other option has it.
    options: command.createHelp().visibleOptions(command).map(describeOption),
    commands: command.commands.map(child => describe(child, [...words, child.name()])),
  };
}

function describeArgument(argument: Argument): ValueInfo {
  return {
    name: argument.name(),
    description: argument.description,
    isRequired: argument.required,
    isVariadic: argument.variadic,
    choices: argument.argChoices ?? [],
  };
}

function describeOption(option: Option): OptionInfo {
  const { short, long, description, required, optional, variadic, argChoices, flags } = option;
  const { defaultValue, defaultValueDescription } = option;
  const value: ValueInfo = {
    name: /[<[]([^>\].]+)/.exec(flags)?.[1] ?? '',
    description,
    isRequired: required,
    isVariadic: variadic,
    choices: argChoices ?? [],
  };
  const isList = Array.isArray(defaultValue);
  const hasDefault = (required || optional) && defaultValue !== undefined && !isList;
  return {
    short,
    long,
    description,
    value: required || optional ? value : undefined,
    defaultText: hasDefault ? (defaultValueDescription ?? String(defaultValue)) : undefined,
    // Commander does not know which options may be given several times, if their parser collects the values.
    isRepeatable: variadic || isList || description.includes('may be repeated'),
  };
}

/** Returns what `addHelpText('after', ...)` adds: commander keeps it in a listener. */
function notesOf(command: Command): string {
  let text = '';
  command.configureOutput({ writeOut: part => (text += part) });
  command.outputHelp();
  return text.slice(command.helpInformation().length).trim();
}
