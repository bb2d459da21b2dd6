/** Which options many commands share, and how options are written: for the man page and docs/CLI.md alike. */
import {
  allCommands,
  type CommandInfo,
  type OptionInfo,
  type ValueInfo,
} from '../src/cli/describe/command-tree.ts';

/** An option that this many commands have, with the same words, is described once for all of them. */
const SHARED_MIN = 8;

/** Returns all commands that can be run: no groups. */
export function runnable(program: CommandInfo): CommandInfo[] {
  return allCommands(program).filter(({ commands }) => commands.length === 0);
}

/** Returns the options that many commands share, each once, without --help. */
export function sharedOptions(program: CommandInfo): OptionInfo[] {
  const byText = new Map<string, OptionInfo[]>();
  for (const option of runnable(program).flatMap(({ options }) => options)) {
    byText.set(keyOf(option), [...(byText.get(keyOf(option)) ?? []), option]);
  }
  return [...byText.values()]
    .filter(options => options.length >= SHARED_MIN && !isHelp(options[0]))
    .map(([option]) => option)
    .filter(option => option !== undefined);
}

/** Divides the options of a command: those that are its own, and those that it shares with many. */
export function divideOptions(
  { options }: CommandInfo,
  shared: readonly OptionInfo[],
): { readonly own: OptionInfo[]; readonly others: OptionInfo[] } {
  const keys = new Set(shared.map(keyOf));
  const told = options.filter(option => !isHelp(option));
  return {
    own: told.filter(option => !keys.has(keyOf(option))),
    others: told.filter(option => keys.has(keyOf(option))),
  };
}

/** Returns `-o, --output FILE`. */
export function optionText(option: OptionInfo): string {
  const { short, long, value } = option;
  const names = [short, long].filter(name => name !== undefined).join(', ');
  return value === undefined ? names : `${names} ${value.name.toUpperCase()}`;
}

/** Returns `netseal key remove [OPTION...] STORE SLOT`. */
export function usage({ words, arguments: values }: CommandInfo): string {
  return ['netseal', ...words, '[OPTION...]', ...values.map(argumentText)].join(' ');
}

function argumentText({ name, isRequired, isVariadic }: ValueInfo): string {
  const text = `${name.toUpperCase()}${isVariadic ? '...' : ''}`;
  return isRequired ? text : `[${text}]`;
}

/** Returns the description, with the default if there is one. */
export function meaning({ description, defaultText, value }: OptionInfo): string {
  const words = value?.choices ?? [];
  const choices = words.length > 0 ? ` (${words.join(', ')})` : '';
  return `${description}${choices}${defaultText === undefined ? '' : ` (default: ${defaultText})`}`;
}

function isHelp(option: OptionInfo | undefined): boolean {
  return option?.long === '--help';
}

function keyOf(option: OptionInfo): string {
  return `${optionText(option)} ${meaning(option)}`;
}
