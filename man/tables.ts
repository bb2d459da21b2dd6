/** The tables of commands and options in docs/CLI.md. */
import type { CommandInfo, OptionInfo } from '../src/cli/describe/command-tree.ts';
import { fill, table } from './markdown.ts';
import { divideOptions, meaning, optionText, runnable, sharedOptions, usage } from './options.ts';

/** Returns the document with its tables as the commands are. Throws when a command has no place in it. */
export function fillTables(document: string, program: CommandInfo): string {
  const shared = sharedOptions(program);
  let filled = fill(document, 'all commands', commandTable(program));
  filled = fill(filled, 'options of many commands', optionTable(shared));
  for (const command of runnable(program)) {
    filled = fill(filled, `options of ${command.words.join(' ')}`, sectionText(command, shared));
  }
  return filled;
}

/** Lists the commands and, of groups, what is in them. */
function commandTable(program: CommandInfo): string {
  const rows = program.commands.map(({ words, summary, commands }) => {
    const name = words.join(' ');
    const below = commands.map(command => command.words.at(-1)).join(', ');
    return [`[\`${name}\`](#${name})`, `${summary}${below === '' ? '' : `: \`${below}\``}`];
  });
  return table(['command', 'what it does'], rows);
}

function sectionText(command: CommandInfo, shared: readonly OptionInfo[]): string {
  const { own, others } = divideOptions(command, shared);
  const values = command.arguments.filter(({ description }) => description !== '');
  const rows = [
    ...values.map(({ name, description }) => [`\`${name.toUpperCase()}\``, description]),
    ...own.map(optionRow),
  ];
  const also = others.map(({ long, short }) => `\`${long ?? short}\``).join(', ');
  const parts = [
    `\`${usage(command)}\``,
    rows.length > 0 ? table(['argument or option', 'what it is'], rows) : '',
    others.length > 0
      ? `${rows.length > 0 ? 'Also' : 'Options'}: ${also}; see [Shared options](#shared-options).`
      : '',
  ];
  return parts.filter(part => part !== '').join('\n\n');
}

function optionTable(options: readonly OptionInfo[]): string {
  return table(['option', 'what it does'], options.map(optionRow));
}

function optionRow(option: OptionInfo): string[] {
  return [`\`${optionText(option)}\``, meaning(option)];
}
