/** The completion script for zsh: a function for each command, in terms of zsh's own `_arguments`. */
import type { CommandInfo, OptionInfo, ValueInfo } from './command-tree.ts';
import { kindOf, type ValueKind } from './value-kinds.ts';

/** @param commands all commands, the program first. */
export function zshScript(commands: readonly CommandInfo[]): string {
  return `#compdef netseal
# Completion of netseal for zsh, made by "netseal completion zsh".

${commands.map(functionOf).join('\n\n')}

# A store can be completed; names in a volume are unknown.
_netseal_paths() {
    [[ $PREFIX == *:/* ]] || _path_files "$@"
}

# The file is either a completion function of zsh, or sourced.
if [[ "\${funcstack[1]}" == _netseal ]]; then
    _netseal "$@"
else
    compdef _netseal netseal
fi
`;
}

function functionOf(command: CommandInfo): string {
  const body = command.commands.length > 0 ? groupBody(command) : argumentsBody(command);
  return `${functionName(command.words)}() {\n${body}\n}`;
}

function functionName(words: readonly string[]): string {
  return ['_netseal', ...words].join('_');
}

/** Offers the commands of a group, or leaves the rest to the function of the one that was typed. */
function groupBody({ words, commands, options }: CommandInfo): string {
  const entries = commands.map(({ words: path, summary }) =>
    quote(`${path.at(-1)}:${summary.replaceAll(':', '\\:')}`),
  );
  return `    if ((CURRENT > 2)) && (($+functions[${functionName(words)}_$words[2]])); then
        local name=$words[2]
        shift words
        ((CURRENT--))
        ${functionName(words)}_$name
        return
    fi
    local -a commands=(
${entries.map(entry => `        ${entry}`).join('\n')}
    )
    _arguments -s : ${options.flatMap(optionSpecs).join(' ')} '1: :{_describe -t commands command commands}'`;
}

function argumentsBody({ options, arguments: args }: CommandInfo): string {
  const specs = [...options.flatMap(optionSpecs), ...args.map(argumentSpec)];
  return `    _arguments -s -S : \\\n${specs.map(spec => `        ${spec}`).join(' \\\n')}`;
}

/** Returns what `_arguments` takes for an option: its name or names, its description, its value. */
function optionSpecs({ short, long, description, value, isRepeatable }: OptionInfo): string[] {
  const names = [short, long].filter(name => name !== undefined);
  const text = `[${escapeText(description)}]${value === undefined ? '' : valueSpec(value)}`;
  const repeat = isRepeatable ? '*' : '';
  const excludes = names.length > 1 && !isRepeatable ? `(${names.join(' ')})` : '';
  return names.map(name => {
    const valued = value === undefined ? name : name.startsWith('--') ? `${name}=` : `${name}+`;
    return quote(`${excludes}${repeat}${valued}${text}`);
  });
}

function argumentSpec(value: ValueInfo): string {
  return quote(`${value.isVariadic ? '*' : ''}${value.isRequired ? ':' : '::'}${valueSpec(value).slice(1)}`);
}

function valueSpec(value: ValueInfo): string {
  const { name, choices } = value;
  const action = choices.length > 0 ? `(${choices.join(' ')})` : ACTIONS[kindOf(value)];
  return `:${name.replaceAll(':', '\\:')}:${action}`;
}

const ACTIONS: Readonly<Record<ValueKind, string>> = {
  file: '_files',
  folder: '_netseal_paths -/',
  path: '_netseal_paths -f',
  other: ' ',
};

function escapeText(text: string): string {
  return text.replaceAll(/[\\[\]:]/g, '\\$&');
}

function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
