/**
 * Tables of commands. A table lists each command by name, with its summary and the file that defines it. Only
 * the file of the command that was typed is loaded; the others appear in lists by name and summary.
 */
import { Command } from 'commander';

/** What the file of a command exports. */
export interface CommandModule {
  /**
   * @param args what follows the command's name on the command line: a group of commands loads the one that
   * is named there.
   */
  command(args: readonly string[]): Command | Promise<Command>;
}

export type CommandTable = Readonly<
  Record<string, readonly [summary: string, load: () => Promise<CommandModule>]>
>;

/** Returns the command called `name`, or undefined when the table has none. */
export async function loadCommand(
  table: CommandTable,
  name: string,
  args: readonly string[] = [],
): Promise<Command | undefined> {
  const entry = Object.hasOwn(table, name) ? table[name] : undefined;
  if (entry === undefined) return undefined;
  const [summary, load] = entry;
  const { command } = await load();
  return (await command(args)).summary(summary);
}

/**
 * Adds all commands of a table to `parent`, in the table's order.
 *
 * @param args what follows the parent's name. The command that it names, also as `help NAME`, is loaded.
 */
export async function addCommands(
  parent: Command,
  table: CommandTable,
  args: readonly string[],
): Promise<Command> {
  const [named, ...rest] = args[0] === 'help' ? args.slice(1) : args;
  for (const [name, [summary]] of Object.entries(table)) {
    const command = name === named ? await loadCommand(table, name, rest) : undefined;
    parent.addCommand(command ?? new Command(name).summary(summary));
  }
  return parent;
}
