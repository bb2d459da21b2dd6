/**
 * Runs the examples of docs/CLI.md, and writes what they print below them: `npm run examples`. A test runs them as well,
 * and compares.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { commandScript } from '../bench/package.ts';

const DOCUMENT = fileURLToPath(new URL('../docs/CLI.md', import.meta.url));
const PRELUDE = `netseal() { "${process.execPath}" "${commandScript()}" "$@"; }; umask 022; exec 2>&1;`;

/** Returns the document with each example followed by what it prints now. Examples run in order, in one folder. */
export function runExamples(document: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'netseal-examples-'));
  try {
    return document.replaceAll(/(?<=^```console\n)[\s\S]*?(?=^```$)/gm, example =>
      runExample(example, folder),
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Variables that one example sets are there in its later lines. */
function runExample(example: string, folder: string): string {
  const lines = example.split('\n').filter(line => line.startsWith('$ '));
  const script = lines.map(line => `printf '%s\\n' ${quote(line)}\n${line.slice(2)}`).join('\n');
  return execFileSync('bash', ['-c', `${PRELUDE}\n${script}`], {
    cwd: folder,
    encoding: 'utf8',
    env: {
      ...process.env,
      LC_ALL: 'C.UTF-8',
      NETSEAL_PASSPHRASE: 'correct horse battery staple',
      NETSEAL_STATE: join(folder, '.state'),
      NETSEAL_CONFIG: join(folder, '.config'),
      TZ: 'UTC',
    },
  });
}

function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** Replaces what differs from one time to the next: ids, times, speeds, sizes of what is sealed. */
export function withoutChance(document: string): string {
  return document
    .replaceAll(/\b[0-9a-f]{32}\b/g, 'ID')
    .replaceAll(/\d{4}-\d\d-\d\d[ T]\d\d:\d\d[\d:.Z]*/g, 'TIME')
    .replaceAll(/in [\d.]+ s(, [\d.]+ \w+\/s)?/g, 'SPEED');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(DOCUMENT, runExamples(readFileSync(DOCUMENT, 'utf8')));
}
