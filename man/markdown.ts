/** Tables in Markdown: written into a document between two comments, and read from one. */

/** Returns a table with its columns aligned. `|` in a cell is escaped. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = [head, ...rows].map(row => row.map(cell => cell.replaceAll('|', '\\|')));
  const widths = head.map((_, column) => Math.max(...cells.map(row => row[column]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`;
  const [first = [], ...rest] = cells;
  return [line(first), line(widths.map(width => '-'.repeat(width))), ...rest.map(line)].join('\n');
}

/**
 * Replaces what stands between `<!-- NAME -->` and the next `<!-- end -->`. Throws when the document has no such place,
 * or several.
 */
export function fill(document: string, name: string, text: string): string {
  const parts = document.split(`<!-- ${name} -->\n`);
  const [before = '', after = ''] = parts;
  const end = after.indexOf('<!-- end -->');
  if (parts.length !== 2 || end === -1) {
    throw new Error(
      `the document needs one place for "${name}": <!-- ${name} -->, and <!-- end --> on a later line`,
    );
  }
  return `${before}<!-- ${name} -->\n\n${text}\n\n${after.slice(end)}`;
}

/** Returns the rows of the first table below a heading, without its head. */
export function rowsBelow(document: string, heading: string): string[][] {
  const start = document.indexOf(`\n${heading}\n`);
  if (start === -1) throw new Error(`the document has no heading "${heading}"`);
  const [, text = ''] = /\n\|[^\n]*\n\| *-[^\n]*\n((?:\|[^\n]*\n)+)/.exec(document.slice(start)) ?? [];
  const lines = text.split('\n').filter(line => line !== '');
  if (lines.length === 0) throw new Error(`there is no table below "${heading}"`);
  return lines.map(line =>
    line
      .split(/(?<!\\)\|/)
      .slice(1, -1)
      .map(cell => cell.trim().replaceAll('\\|', '|')),
  );
}
