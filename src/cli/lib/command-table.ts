/**
 * Tables of commands. A table lists each command by name, with its summary and the file that defines it. Only
 * the file of the command that was typed is loaded; the others appear in lists by name and summary.
 */
import { Command } from 'commander';

/** Which commands to load: the one that these words of the command line name, or all. */
export type Wanted = readonly string[] | 'all';

/** What the file of a command exports. */
export interface CommandModule {
  /**
   * @param wanted what follows the command's name on the command line: a group of commands loads the one that
   * is named there.
   */
  command(wanted: Wanted): Command | Promise<Command>;
}

export type CommandTable = Readonly<
  Record<string, readonly [summary: string, load: () => Promise<CommandModule>]>
>;

/**
 * Adds all commands of a table to `parent`, in the table's order.
 *
 * @param wanted what follows the parent's name. The command that it names, also as `help NAME`, is loaded.
 */
export async function addCommands(parent: Command, table: CommandTable, wanted: Wanted): Promise<Command> {
  const words = wanted === 'all' ? [] : wanted;
  const [named, ...rest] = words[0] === 'help' ? words.slice(1) : words;
  for (const [name, [summary, load]] of Object.entries(table)) {
    const isWanted = wanted === 'all' || name === named;
    const command = isWanted
      ? await (await load()).command(wanted === 'all' ? 'all' : rest)
      : new Command(name);
    parent.addCommand(command.summary(summary));
  }
  return parent;
}
