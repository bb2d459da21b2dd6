/** The manual page: all commands on one page, in the macros of man(7). */
import { allCommands, type CommandInfo, type OptionInfo } from '../src/cli/describe/command-tree.ts';
import { rowsBelow } from './markdown.ts';
import { divideOptions, meaning, optionText, sharedOptions, usage } from './options.ts';

export interface Documents {
  /** docs/CLI.md, which has a table of environment variables. */
  readonly cli: string;
  /** docs/ERRORS.md, which has a table of exit codes. */
  readonly errors: string;
}

export function manPage(program: CommandInfo, { cli, errors }: Documents): string {
  const shared = sharedOptions(program);
  const commands = allCommands(program).filter(({ words }) => words.length > 0);
  return `${[
    '.\\" Made by "npm run man" from the commands, docs/CLI.md and docs/ERRORS.md: change those.',
    '.TH NETSEAL 1 "" netseal "User commands"',
    '.SH NAME',
    'netseal \\- compress, encrypt and cache files in front of storage that need not be trusted',
    '.SH SYNOPSIS',
    '.B netseal',
    '.I COMMAND',
    '.RI [ OPTION ...]',
    '.IR ARGUMENT ...',
    '.SH DESCRIPTION',
    paragraphs(DESCRIPTION),
    '.SH COMMANDS',
    ...program.commands.map(({ words, summary }) => entry(words.join(' '), summary)),
    '.SH OPTIONS OF MANY COMMANDS',
    ...shared.map(optionEntry),
    '.SH EACH COMMAND',
    ...commands.flatMap(command => section(command, shared)),
    '.SH ENVIRONMENT',
    ...rowsBelow(cli, '## Environment').map(([name = '', text = '']) => entry(plain(name), plain(text))),
    '.SH EXIT STATUS',
    ...rowsBelow(errors, '## Exit codes').map(([code = '', text = '']) => entry(plain(code), plain(text))),
    '.SH SEE ALSO',
    'The documents that come with netseal, in',
    '.IR docs :',
    'CLI.md has examples, JSON output and what copies keep; ERRORS.md has all errors; SECURITY.md tells what a store can see.',
  ].join('\n')}\n`;
}

const DESCRIPTION = `netseal keeps whole trees of files in a volume. The volume lies in a store, a folder or a bucket, which sees no names, no sizes and no text. STORE is such a folder, or a URL (file://, s3://); STORE:/path is a file or folder in the volume there.

Every command has a help of its own: netseal COMMAND \\-\\-help. Errors are one line on standard error. Only the result goes to standard output.`;

/** Returns the part about one command. A group has only its description. */
function section(command: CommandInfo, shared: readonly OptionInfo[]): string[] {
  const { words, description, notes, arguments: values, commands } = command;
  const title = `.SS netseal ${words.join(' ')}`;
  if (commands.length > 0) {
    const names = commands.map(child => child.words.at(-1)).join(', ');
    return [title, paragraphs(`${troff(description)} Its commands: ${names}.`)];
  }
  const { own, others } = divideOptions(command, shared);
  return [
    title,
    '.nf',
    troff(usage(command)),
    '.fi',
    '.PP',
    troff(description),
    ...values
      .filter(value => value.description !== '')
      .map(value => entry(value.name.toUpperCase(), value.description)),
    ...own.map(optionEntry),
    ...(others.length > 0
      ? ['.PP', `Also: ${others.map(({ long, short }) => troff(long ?? short ?? '')).join(', ')}.`]
      : []),
    ...(notes === '' ? [] : [notesText(notes)]),
  ];
}

/** Returns the notes below a command's help: paragraphs, and lines that are aligned by hand. */
function notesText(notes: string): string {
  return notes
    .split(/\n\n+/)
    .map(part => (/\n {2}|^\S+ {2,}/.test(part) ? `.PP\n.nf\n${troff(part)}\n.fi` : `.PP\n${troff(part)}`))
    .join('\n');
}

function optionEntry(option: OptionInfo): string {
  return entry(optionText(option), meaning(option));
}

/** Returns a term and what it means. */
function entry(term: string, text: string): string {
  return `.TP\n.B ${troff(term)}\n${troff(text)}`;
}

/** @param text with its escapes already in it. */
function paragraphs(text: string): string {
  return text.split('\n\n').join('\n.PP\n');
}

/** Returns a cell of a Markdown table as plain text. */
function plain(cell: string): string {
  return cell.replaceAll(/`([^`]*)`/g, '$1').replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1');
}

/** Returns text that troff prints as it is: no line of it is a macro, and no hyphen becomes a dash. */
function troff(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll(/^([.'])/gm, '\\&$1');
}
