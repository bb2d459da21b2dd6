/** The completion script for bash, 3.2 and later. */
import type { CommandInfo, OptionInfo, ValueInfo } from './command-tree.ts';
import { kindOf } from './value-kinds.ts';

/** @param commands all commands, the program first. */
export function bashScript(commands: readonly CommandInfo[]): string {
  return `${HEAD}
# Tells what a command takes: the variables are those of _netseal.
_netseal_takes() {
    commands='' options='' arguments='' values=' '
    case $1 in
${commands.map(caseOf).join('\n')}
    esac
}
${TAIL}`;
}

function caseOf({ words, commands, options, arguments: args }: CommandInfo): string {
  const names = commands.map(({ words: [...path] }) => path.at(-1));
  const lines = [
    names.length > 0 ? `commands='${names.join(' ')}'` : '',
    `options='${options.flatMap(flagsOf).join(' ')}'`,
    args.length > 0 ? `arguments='${args.map(argumentWord).join(' ')}'` : '',
    options.some(({ value }) => value) ? `values=' ${options.flatMap(valueWords).join(' ')} '` : '',
  ];
  const body = lines.filter(line => line !== '').map(line => `            ${line}`);
  return `        '${words.join(' ')}')\n${body.join('\n')}\n            ;;`;
}

function flagsOf({ short, long }: OptionInfo): string[] {
  return [short, long].filter(flag => flag !== undefined);
}

/** Returns `--key-file=file`, for each name of an option with a value. */
function valueWords(option: OptionInfo): string[] {
  const { value } = option;
  return value === undefined ? [] : flagsOf(option).map(flag => `${flag}=${valueWord(value)}`);
}

/** Returns the kind of a value, or its choices as `:one|two`. */
function valueWord(value: ValueInfo): string {
  return value.choices.length > 0 ? `:${value.choices.join('|')}` : kindOf(value);
}

function argumentWord(value: ValueInfo): string {
  return `${valueWord(value)}${value.isVariadic ? '...' : ''}`;
}

const HEAD = '# Completion of netseal for bash, made by "netseal completion bash".\n';

const TAIL = String.raw`
# Offers those of the words that begin with what is typed.
_netseal_offer() {
    local word IFS=$' \t\n'
    while read -r word; do COMPREPLY+=("$word"); done < <(compgen -W "$1" -- "$current")
}

_netseal() {
    local commands options arguments values words=() line=${'$'}{COMP_LINE:0:COMP_POINT} index word
    COMPREPLY=()
    # readline cuts words at ":" and "=" as well: what stands without a space between is joined again.
    for ((index = 0; index <= COMP_CWORD; index++)); do
        word=${'$'}{COMP_WORDS[index]}
        if ((index == 0)) || [[ $line == [[:space:]]* ]]; then
            line=${'$'}{line#"${'$'}{line%%[![:space:]]*}"}
            words+=('')
        fi
        ((index == COMP_CWORD)) && word=$line
        words[${'$'}{#words[@]}-1]+=$word
        line=${'$'}{line#"$word"}
    done
    local current=${'$'}{words[${'$'}{#words[@]}-1]} command='' position=0 option='' ended='' kind
    _netseal_takes ''
    for ((index = 1; index < ${'$'}{#words[@]} - 1; index++)); do
        word=${'$'}{words[index]}
        if [[ -n $option ]]; then
            option=''
        elif [[ -z $ended && $word == -- ]]; then
            ended=yes
        elif [[ -z $ended && $word == -?* ]]; then
            [[ $values == *" $word="* ]] && option=$word
        elif [[ " $commands " == *" $word "* ]]; then
            command+=${'$'}{command:+ }$word
            _netseal_takes "$command"
        else
            ((position += 1))
        fi
    done
    if [[ -z $option$ended && $current == --*=* ]]; then
        option=${'$'}{current%%=*}
        current=${'$'}{current#*=}
    fi
    if [[ -n $option ]]; then
        kind=${'$'}{values##*" $option="}
        kind=${'$'}{kind%% *}
    elif [[ -z $ended && $current == -* ]]; then
        _netseal_offer "$options"
        return
    elif [[ -n $commands ]]; then
        ((position == 0)) && _netseal_offer "$commands"
        return
    else
        kind=''
        for word in $arguments; do
            kind=${'$'}{word%...}
            ((position == 0)) && break
            [[ $word == *... ]] || { kind=''; ((position -= 1)); }
        done
    fi
    # Readline itself completes files and folders: it knows how to quote them. Names in a volume are unknown.
    case $kind in
        :*) kind=${'$'}{kind#:} && _netseal_offer "${'$'}{kind//|/ }" ;;
        file) compopt -o default ;;
        path) [[ $current == *:/* ]] || compopt -o default ;;
        folder) [[ $current == *:/* ]] || compopt -o dirnames ;;
    esac
} 2>/dev/null

# Without compopt (bash 3.2), files are offered everywhere.
if type compopt >/dev/null 2>&1; then
    complete -F _netseal netseal
else
    complete -o default -F _netseal netseal
fi
`;
