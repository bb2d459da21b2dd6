/** The completion script for fish, 3.0 and later. */
import type { CommandInfo, OptionInfo, ValueInfo } from './command-tree.ts';
import { kindOf } from './value-kinds.ts';

/** @param commands all commands, the program first. */
export function fishScript(commands: readonly CommandInfo[]): string {
  const names = commands.map(({ words }) => quote(words.join(' ')));
  const valued = commands.flatMap(({ words, options }) =>
    options
      .filter(({ value }) => value !== undefined)
      .flatMap(({ short, long }) => [short, long])
      .filter(flag => flag !== undefined)
      .map(flag => quote([...words, flag].join(' '))),
  );
  return `# Completion of netseal for fish, made by "netseal completion fish".
set -g __netseal_commands ${names.join(' ')}
set -g __netseal_valued ${valued.join(' ')}
${FUNCTIONS}
complete -c netseal -f
${commands.flatMap(linesOf).join('\n')}
`;
}

const FUNCTIONS = `
# Whether this command is being typed, and this argument of it: "3" for the fourth, "3-" for it and all after it.
function __netseal_at
    set -l words (commandline -opc)
    set -l command
    set -l position 0
    set -l is_value no
    set -l is_ended no
    for word in $words[2..-1]
        if test $is_value = yes
            set is_value no
        else if test $is_ended = no -a "$word" = --
            set is_ended yes
        else if test $is_ended = no; and string match -q -- '-?*' $word
            contains -- "$command $word" $__netseal_valued; and set is_value yes
        else if contains -- (string trim "$command $word") $__netseal_commands
            set command (string trim "$command $word")
        else
            set position (math $position + 1)
        end
    end
    test "$command" = "$argv[1]"; or return 1
    set -q argv[2]; or return 0
    if string match -q -- '*-' $argv[2]
        test $position -ge (string trim -c - -- $argv[2])
    else
        test $position -eq $argv[2]
    end
end

# The same for a path: names in a volume are unknown.
function __netseal_path_at
    __netseal_at $argv; and not string match -q -- '*:/*' (commandline -ct)
end
`;

function linesOf({ words, commands, options, arguments: args }: CommandInfo): string[] {
  const command = words.join(' ');
  return [
    ...commands.map(child => {
      const name = child.words.at(-1) ?? '';
      return `complete -c netseal -n ${at(command, '0')} -a ${name} -d ${quote(child.summary)}`;
    }),
    ...options.map(option => optionLine(command, option)),
    ...args.map((argument, index) => argumentLine(command, argument, index)).filter(line => line !== ''),
  ];
}

function at(command: string, position?: string, name = '__netseal_at'): string {
  return quote(`${name} "${command}"${position === undefined ? '' : ` ${position}`}`);
}

function optionLine(command: string, { short, long, description, value }: OptionInfo): string {
  const names = [
    ...(short === undefined ? [] : [`-s ${short.slice(1)}`]),
    ...(long === undefined ? [] : [`-l ${long.slice(2)}`]),
  ];
  const taken = value === undefined ? '' : ` ${optionValue(value)}`;
  return `complete -c netseal -n ${at(command)} ${names.join(' ')}${taken} -d ${quote(description)}`;
}

function optionValue(value: ValueInfo): string {
  if (value.choices.length > 0) return `-x -a ${quote(value.choices.join(' '))}`;
  const kind = kindOf(value);
  if (kind === 'other') return '-x';
  return kind === 'folder' ? `-x -a '(__fish_complete_directories)'` : '-r -F';
}

function argumentLine(command: string, value: ValueInfo, index: number): string {
  const position = `${index}${value.isVariadic ? '-' : ''}`;
  if (value.choices.length > 0) {
    return `complete -c netseal -n ${at(command, position)} -a ${quote(value.choices.join(' '))}`;
  }
  const kind = kindOf(value);
  if (kind === 'other') return '';
  const offered = kind === 'folder' ? `-a '(__fish_complete_directories)'` : '-F';
  return `complete -c netseal -n ${at(command, position, '__netseal_path_at')} ${offered}`;
}

function quote(text: string): string {
  return `'${text.replaceAll(/[\\']/g, '\\$&')}'`;
}
