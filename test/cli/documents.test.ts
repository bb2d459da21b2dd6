/** The man page and docs/CLI.md against the commands, and the examples against what they print. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { runExamples, withoutChance } from '../../man/examples.ts';
import { fill, rowsBelow, table } from '../../man/markdown.ts';
import { manPage } from '../../man/page.ts';
import { fillTables } from '../../man/tables.ts';
import { COMMANDS } from '../../src/cli/commands.ts';
import { describeCommands } from '../../src/cli/describe/command-tree.ts';
import { IS_LONG } from '../support/soak.ts';

const pathOf = (name: string): string => fileURLToPath(new URL(`../../${name}`, import.meta.url));
const read = (name: string): string => readFileSync(pathOf(name), 'utf8');
const cli = read('docs/CLI.md');
const errors = read('docs/ERRORS.md');
const program = await describeCommands(COMMANDS);

describe('docs/CLI.md and the man page', () => {
  it('have every command and option as it is: else run npm run man', () => {
    expect(fillTables(cli, program)).toBe(cli);
    expect(manPage(program, { cli, errors })).toBe(read('man/netseal.1'));
  });

  it('would miss a new command, and a new option', () => {
    const [first, ...others] = program.commands;
    const extra = { ...first!, words: ['extra'] };
    expect(() => fillTables(cli, { ...program, commands: [extra, ...others] })).toThrow('options of extra');
    const option = { ...first!.options[0]!, long: '--extra' };
    const changed = { ...first!, options: [...first!.options, option] };
    expect(fillTables(cli, { ...program, commands: [changed, ...others] })).toContain('--extra');
  });

  it('name every variable of the environment that the sources read', () => {
    const sources = readdirSync(pathOf('src'), { recursive: true, encoding: 'utf8' });
    const text = sources.map(name => (name.endsWith('.ts') ? read(`src/${name}`) : '')).join('\n');
    const found = text.matchAll(
      /\benv\.([A-Z][A-Z_]+)|environment\('([A-Z_]+)'\)|['"`](NETSEAL_[A-Z_]+)['"`]/g,
    );
    const variables = new Set([...found].map(match => match[1] ?? match[2] ?? match[3]));
    // Every program reads HOME; the other is the code of a warning.
    for (const name of ['HOME', 'NETSEAL_NO_WORKERS']) variables.delete(name);
    expect([...variables]).toContain('NETSEAL_PASSPHRASE');
    // A row may name several.
    const named = rowsBelow(cli, '## Environment').flatMap(([names]) => names?.match(/[A-Z_]{4,}/g) ?? []);
    expect([...variables].filter(name => !named.includes(name ?? ''))).toEqual([]);
  });

  it('the man page hides nothing that troff would take for its own', () => {
    const lines = manPage(program, { cli, errors }).split('\n');
    const macros = new Set(lines.filter(line => /^[.']/.test(line)).map(line => line.split(' ')[0]));
    expect([...macros].sort()).toEqual([
      ...['.B', '.I', '.IR', '.PP', '.RI', '.SH', '.SS', '.TH', '.TP', '.\\"', '.fi', '.nf'].sort(),
    ]);
    // Every other backslash is one of these: a hyphen, a backslash, a point at the beginning of a line.
    expect(lines.slice(1).join('\n')).not.toMatch(/\\(?![-e&])/);
  });
});

// All of them are some hundred commands in shells.
it.runIf(IS_LONG)('the examples print what docs/CLI.md says: else run npm run examples', () => {
  expect(withoutChance(runExamples(cli))).toBe(withoutChance(cli));
});

describe('tables in documents', () => {
  it('go where they belong, and are read again', () => {
    const rows = [
      ['`a|b`', 'one'],
      ['c', 'two words'],
    ];
    const document = `# All\n\n## Here\n\n${table(['x', 'y'], rows)}\n\n## There\n`;
    expect(rowsBelow(document, '## Here')).toEqual(rows);
    expect(() => rowsBelow(document, '## There')).toThrow('no table');
    expect(() => rowsBelow(document, '## Nowhere')).toThrow('no heading');
  });

  it('replace what stood there before, once', () => {
    const place = '<!-- a -->\nold\n<!-- end -->\n';
    expect(fill(`x\n${place}y\n`, 'a', 'new')).toBe('x\n<!-- a -->\n\nnew\n\n<!-- end -->\ny\n');
    expect(() => fill('x\n', 'a', 'new')).toThrow('needs one place');
    expect(() => fill(place + place, 'a', 'new')).toThrow('needs one place');
  });
});
