/**
 * Checks that every relative link in the documents of the package leads to a file of the package, and to a heading
 * that is there: `node .ci/packed-links.mjs`. A link to a file that is only in the checkout is dead for users.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, normalize } from 'node:path';

// What npm would pack. The build is no document, so it need not be there.
const [{ files }] = JSON.parse(
  execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  }),
);
const packed = new Set(files.map(({ path }) => path));
const documents = [...packed].filter(path => path.endsWith('.md'));
const broken = documents.flatMap(brokenLinks);
if (documents.length < 10) broken.push(`only ${documents.length} documents are packed`);
for (const line of broken) console.error(line);
process.exitCode = broken.length === 0 ? 0 : 1;

function brokenLinks(document) {
  const text = readFileSync(document, 'utf8').replace(/^```.*?^```/gms, '');
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, target]) => {
    if (/^[a-z]+:/.test(target)) return [];
    const [path, heading] = target.split('#');
    const file = path === '' ? document : normalize(`${dirname(document)}/${path}`);
    if (!packed.has(file)) return [`${document}: ${target} is not in the package`];
    const isThere = heading === undefined || headings(file).includes(heading);
    return isThere ? [] : [`${document}: ${target}: no such heading`];
  });
}

/** Returns the anchors that GitHub makes of a document's headings. */
function headings(file) {
  return [...readFileSync(file, 'utf8').matchAll(/^#+ (.*)$/gm)].map(([, title]) =>
    title
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}
