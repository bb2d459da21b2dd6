/** Comments and documents send their readers to files by name. Each of those files has to exist. */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test as it } from 'vitest';

const ROOT: string = join(import.meta.dirname, '../..');
const FOLDERS = ['src', 'workers', 'test', 'bench', 'examples', 'docs', 'vectors', 'bin'];
/** Names of files that are not the project's: a library, and examples of what users have. */
const FOREIGN: ReadonlySet<string> = new Set([
  'Chart.js',
  'chart.js',
  'Node.js',
  'pin.json',
  'remotes.json',
  'settings.json',
  'src/server/sealed/NAME-format.ts',
]);

const files: readonly string[] = [
  ...globSync(
    FOLDERS.map(folder => `${folder}/**/*`),
    { cwd: ROOT },
  ),
  ...globSync('*', { cwd: ROOT }),
];
const present: ReadonlySet<string> = new Set(files.flatMap(tailsOf));

/** `a/b/c.ts`, `b/c.ts` and `c.ts`: what a text may call a file. */
function tailsOf(path: string): string[] {
  const parts = path.split('/');
  return parts.map((_, at) => parts.slice(at).join('/'));
}

/** The lines of comments; of a document, all. */
function proseOf(path: string, text: string): string {
  if (path.endsWith('.md')) return text;
  return [...text.matchAll(/\/\*[\s\S]*?\*\/|(?<![:'"`])\/\/.*/g)].map(([comment]) => comment).join('\n');
}

/** Names of code files in a text; a name inside a longer path or address is no name of its own. */
function namesIn(text: string): string[] {
  return [...text.matchAll(/(?<![\w./@*-])[\w][\w/-]*\.(?:test\.)?(?:ts|js|json)(?![\w*])/g)].map(
    ([name]) => name,
  );
}

it('every file that a comment or a document names exists', () => {
  const missing: string[] = [];
  let count = 0;
  for (const path of files) {
    // This file's own examples are made up.
    if (!/\.(?:ts|md)$/.test(path) || path.endsWith('named-files.test.ts')) continue;
    for (const name of namesIn(proseOf(path, readFileSync(join(ROOT, path), 'utf8')))) {
      count += 1;
      if (!present.has(name) && !FOREIGN.has(name)) missing.push(`${path} names ${name}`);
    }
  }
  expect(count).toBeGreaterThan(100);
  expect(missing).toEqual([]);
});

it('names are found in comments and documents, and a missing one is', () => {
  const code = "/** See `gone.ts`, and base/bytes.ts. */\nimport 'other.ts'; // not kept.test.ts\n";
  expect(namesIn(proseOf('a.ts', code))).toEqual(['gone.ts', 'base/bytes.ts', 'kept.test.ts']);
  expect(namesIn(proseOf('a.md', 'As `x/y.ts` says, https://example.org/z.ts does not.'))).toEqual([
    'x/y.ts',
  ]);
  expect(present.has('base/bytes.ts')).toBe(true);
  expect(present.has('gone.ts')).toBe(false);
});
