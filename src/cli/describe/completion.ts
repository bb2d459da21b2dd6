/** `netseal completion`: a script that lets a shell complete commands, options and file names. */
import { Argument, Command } from 'commander';
import type { CommandTable } from '../lib/command-table.ts';
import { bashScript } from './bash.ts';
import { allCommands, type CommandInfo, describeCommands } from './command-tree.ts';
import { fishScript } from './fish.ts';
import { zshScript } from './zsh.ts';

const SCRIPTS: Readonly<Record<string, (commands: readonly CommandInfo[]) => string>> = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
};

const NOTES = `
bash  add to ~/.bashrc:   source <(netseal completion bash)
zsh   add to ~/.zshrc, below compinit:   source <(netseal completion zsh)
fish  run once:   netseal completion fish > ~/.config/fish/completions/netseal.fish

The script knows the commands of this netseal: make it anew after an update. It
completes local names, but no names inside a volume.`;

/** `netseal completion bash|zsh|fish` */
export function completionCommand(table: CommandTable): Command {
  return new Command('completion')
    .description('Print a script that lets your shell complete commands, options and file names.')
    .addArgument(new Argument('<shell>', 'the shell that you use').choices(Object.keys(SCRIPTS)))
    .addHelpText('after', NOTES)
    .action(async (shell: string) => {
      const script = SCRIPTS[shell];
      if (script !== undefined) process.stdout.write(script(withHelp(await describeCommands(table))));
    });
}

/** Returns all commands, and in each group `help`, which takes the names of the others. */
function withHelp(program: CommandInfo): CommandInfo[] {
  return allCommands(program).flatMap(command => {
    if (command.commands.length === 0) return [command];
    const help = helpOf(command);
    return [{ ...command, commands: [...command.commands, help] }, help];
  });
}

function helpOf({ words, commands }: CommandInfo): CommandInfo {
  const choices = commands.map(({ words: [...path] }) => path.at(-1) ?? '');
  const description = 'show the help of a command';
  return {
    words: [...words, 'help'],
    summary: description,
    description,
    notes: '',
    arguments: [{ name: 'command', description, isRequired: false, isVariadic: false, choices }],
    options: [],
    commands: [],
  };
}
