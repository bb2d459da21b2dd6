/**
 * Writes man/netseal.1, and the tables of commands and options in docs/CLI.md, from the commands: `npm run man`. With
 * `--check` it writes nothing, and fails when they are not what the commands say.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { COMMANDS } from '../src/cli/commands.ts';
import { describeCommands } from '../src/cli/describe/command-tree.ts';
import { manPage } from './page.ts';
import { fillTables } from './tables.ts';

const program = await describeCommands(COMMANDS);
const read = (name: string): string => readFileSync(pathOf(name), 'utf8');
const cli = fillTables(read('docs/CLI.md'), program);
const made = [
  ['docs/CLI.md', cli],
  ['man/netseal.1', manPage(program, { cli, errors: read('docs/ERRORS.md') })],
] as const;
for (const [name, text] of made) {
  if (!process.argv.includes('--check')) writeFileSync(pathOf(name), text);
  else if (read(name) !== text) {
    console.error(`${name} is not what the commands say: npm run man`);
    process.exitCode = 1;
  }
}

function pathOf(name: string): string {
  return fileURLToPath(new URL(`../${name}`, import.meta.url));
}
