/**
 * `npm run demo [-- FOLDER]`: copies a real tree into a volume, looks at what the store holds, damages it, and
 * gets back what is left. Each step is a command that a person could type. The demo ends with an error if a
 * result is not as expected.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stripVTControlCharacters, styleText } from 'node:util';
import { commandScript } from './package.ts';

const ROOT: string = fileURLToPath(new URL('..', import.meta.url));
const EXIT_DAMAGED = 3;
/** Longer lines are shown shortened. */
const WIDTH_MAX = 110;

const given = process.argv[2];
const folder = mkdtempSync(join(tmpdir(), 'netseal-demo-'));
const environment = {
  ...process.env,
  D: folder,
  NETSEAL_STATE: `${folder}/state`,
  NETSEAL_PASSPHRASE: 'correct horse battery staple',
};
/** Replaces `npx`, which takes a second to start. */
const PRELUDE = `npx() { shift; "${process.execPath}" "${commandScript()}" "$@"; }`;

try {
  makeTree();
  copyIn();
  look();
  clean();
  bringBack();
  edit();
  damage();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log(`\nEverything was as it should be. ${folder} is removed again.`);

function heading(text: string): void {
  console.log(`\n${styleText('bold', `# ${text}`, { stream: process.stdout })}`);
}

function check(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(`demo: ${what}`);
}

/** Shows a command and its output, and returns the output. Throws when the exit code is not the given one. */
function type(line: string, { exitCode = 0 }: { readonly exitCode?: number } = {}): string {
  console.log(`${styleText('cyan', '$', { stream: process.stdout })} ${line}`);
  const output = run(line, exitCode);
  const lines = output === '' ? [] : output.replace(/\n$/, '').split('\n');
  for (const text of lines) {
    console.log(text.length > WIDTH_MAX ? `${text.slice(0, WIDTH_MAX - 1)}…` : text);
  }
  if (exitCode !== 0) console.log(`(exit code ${exitCode})`);
  return output;
}

/** Returns the output of a command without showing it. */
function run(line: string, exitCode = 0): string {
  const script = `${PRELUDE}\nexec 2>&1\n${line}`;
  const { status, stdout, error } = spawnSync('bash', ['-c', script], {
    cwd: ROOT,
    env: environment,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
  if (error !== undefined) throw error;
  check(status === exitCode, `"${line}" ended with ${status}, not ${exitCode}:\n${stdout}`);
  return stripVTControlCharacters(stdout);
}

/** Makes the tree to keep: FOLDER, or this checkout with its Node binary as a large file. */
function makeTree(): void {
  const tree = `${folder}/tree`;
  heading(`A tree to keep: ${given ?? 'this checkout, and the Node that runs it'}`);
  console.log(
    `$ export D=${folder} NETSEAL_STATE=$D/state NETSEAL_PASSPHRASE='correct horse battery staple'`,
  );
  if (given === undefined) {
    mkdirSync(tree);
    for (const name of readdirSync(ROOT)) {
      if (['node_modules', '.git', 'dist'].includes(name)) continue;
      cpSync(`${ROOT}${name}`, `${tree}/${name}`, { recursive: true, preserveTimestamps: true });
    }
    cpSync(process.execPath, `${tree}/bin/node`);
  } else {
    cpSync(given, tree, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true });
  }
  const [count] = type('find $D/tree -type f | wc -l; du -sh $D/tree | cut -f1').split('\n');
  check(Number(count) > 0, 'the tree holds no files');
  run('cd $D/tree && find . -type f -print0 | sort -z | xargs -0 sha256sum > $D/hashes');
}

function copyIn(): void {
  heading('A volume in a folder, and the tree in it');
  type('npx netseal init $D/store');
  type('npx netseal put -r $D/tree $D/store:/tree');
  const listed = type('npx netseal ls -l $D/store:/tree | head -n 12').split('\n').slice(0, -1);
  check(listed.length > 0 && !listed.some(line => line.includes('(E')), 'ls lists nothing');
  type('npx netseal du -sh $D/store:/tree');
  if (existsSync(`${folder}/tree/README.md`)) {
    const text = type('npx netseal cat $D/store:/tree/README.md --length 120');
    check(text === run('head -c 120 $D/tree/README.md'), 'cat writes something else');
  }
}

/** Searches for file names and for pieces of files. All of them are in the tree, and none is in the store. */
function look(): void {
  heading('What the store holds: no name, no text');
  type('find $D/store -type f | head -n 5; du -sh $D/store | cut -f1');
  type('find $D/tree -type f | sed "s|.*/||" | awk "length >= 10" | sort -u > $D/names');
  type('LC_ALL=C grep -rhoaE "[[:print:]]{24,60}" $D/tree | sort -u | shuf -n 5000 > $D/pieces');
  check(run('cat $D/names $D/pieces').length > 0, 'the tree holds nothing to look for');
  const count = (line: string): number => Number(type(line).trim());
  check(
    count('LC_ALL=C grep -rlaF -f $D/pieces $D/tree | wc -l') > 0,
    'the search finds no piece in the tree',
  );
  check(
    count('find $D/tree | grep -cF -f $D/names') > 0 || run('cat $D/names') === '',
    'the search finds no name in the tree',
  );
  const inStore = count('LC_ALL=C grep -rlaF -f $D/pieces -f $D/names $D/store | wc -l');
  check(inStore === 0, `${inStore} objects hold plaintext`);
  const named = Number(run('find $D/store | sed 1d | grep -cF -f $D/names || true').trim());
  check(named === 0, 'names of files are names of objects');
}

/** Returns the path in the tree of a file that is not in `except`; undefined when there is none. */
function someFile(except: readonly string[]): string | undefined {
  return readdirSync(`${folder}/tree`, { withFileTypes: true, recursive: true })
    .filter(entry => entry.isFile())
    .map(({ parentPath, name }) => `${parentPath}/${name}`.slice(`${folder}/tree/`.length))
    .find(path => !except.includes(path) && /^[\w./-]+$/.test(path));
}

/** Returns the first folder that is not empty; undefined when there is none. */
function someFolder(): string | undefined {
  return readdirSync(`${folder}/tree`, { withFileTypes: true })
    .filter(entry => entry.isDirectory() && /^\w+$/.test(entry.name))
    .map(({ name }) => name)
    .find(name => readdirSync(`${folder}/tree/${name}`).length > 0);
}

function clean(): void {
  heading('Nothing is wrong, and what is removed is garbage after a while');
  check(type('npx netseal verify --deep $D/store').includes('no damage found'), 'verify finds damage');
  const name = someFolder();
  if (name !== undefined) {
    type(`npx netseal mv $D/store:/tree/${name} $D/store:/old`);
    type('npx netseal rm -r $D/store:/old');
  }
  type('npx netseal gc --dry-run $D/store');
  const again = type('npx netseal put -r $D/tree $D/store:/tree');
  check(again.includes('unchanged') && !again.includes('failed'), 'put sends everything again');
}

function bringBack(): void {
  heading('All of it back, the same');
  type('npx netseal get -r $D/store:/tree $D/back');
  type('(cd $D/back && sha256sum --quiet --check $D/hashes) && echo same content');
  const facts = "find . -printf '%p %y %m %T@ %l\\n' | sort";
  const difference = run(`diff <(cd $D/tree && ${facts}) <(cd $D/back && ${facts})`);
  check(difference === '', `modes, times or links differ:\n${difference}`);
}

/** Edits a file in place. A second client, with a cache, reads it: once from the store, and then without. */
function edit(): void {
  heading('An edit in the middle of a file, and a second client that has a cache');
  run('npx netseal init $D/films');
  type('head -c 2000000 /dev/urandom > $D/film && npx netseal put $D/film $D/films:/film');
  type("printf 'a new title' | npx netseal write --offset 1000000 $D/films:/film");
  check(type('npx netseal status $D/films').startsWith('everything'), 'something is not in the store');
  type("printf 'a new title' | dd of=$D/film bs=1 seek=1000000 conv=notrunc status=none");
  type('npx netseal cache init $D/cache 2>/dev/null | head -n 2');
  const second = '--state $D/second --cache $D/cache';
  const same = `npx netseal cat ${second} $D/films:/film | cmp - $D/film && echo the same`;
  check(type(same) === 'the same\n', 'the second client reads something else');
  type(`npx netseal inspect ${second} $D/films:/film | grep -v '^path'`);
  // What it has read is on this machine, sealed. Only names and the map are asked for.
  run('mv $D/films/objects/s+ $D/away');
  console.log('  (the store loses all content for a moment)');
  check(type(same) === 'the same\n', 'the cache does not have what was read');
  run('mv $D/away $D/films/objects/s+');
}

interface Affected {
  readonly paths: readonly { readonly path?: string }[];
}

/** Returns the paths below the tree that verify reports. */
function damagedPaths(): string[] {
  const report = JSON.parse(run('npx netseal verify --deep --json $D/store 2>/dev/null', EXIT_DAMAGED)) as {
    readonly damages: readonly { readonly affected: readonly Affected[] }[];
  };
  return report.damages
    .flatMap(({ affected }) => affected)
    .flatMap(({ paths }) => paths.map(({ path = '' }) => path))
    .filter(path => path.startsWith('/tree/'))
    .map(path => path.slice('/tree/'.length))
    .sort();
}

function damage(): void {
  heading('Damage: a few bytes of the largest object, and an object that is gone');
  type('ls -S $D/store/objects/s+/* | head -n 1 > $D/victim');
  const at = Math.floor(Number(run('stat -c %s $(cat $D/victim)')) / 2);
  type(`printf 'some damage' | dd of=$(cat $D/victim) bs=1 seek=${at} conv=notrunc status=none`);
  // Small files that share a pack are lost together.
  const files = damagedPaths();
  check(files.length > 0, 'verify does not name a file');
  // A file with several names is an object of its own.
  const name = someFile(files);
  if (name !== undefined) {
    type(`npx netseal ln $D/store:/tree/${name} $D/store:/second-name`);
    type(`npx netseal stat $D/store:/tree/${name} | grep '^inode'`);
    const id = /object i\/([0-9a-f]+)/.exec(run(`npx netseal stat $D/store:/tree/${name}`))?.[1];
    check(id !== undefined, 'stat does not tell the object');
    type(`rm $D/store/objects/i+/${id}`);
  }
  type('npx netseal verify --deep $D/store', { exitCode: EXIT_DAMAGED });
  const named = damagedPaths();
  const expected = name === undefined ? files : [...files, name].sort();
  check(named.join() === expected.join(), `verify names ${named.join(', ')}, not ${expected.join(', ')}`);

  heading('What is damaged is named; everything else arrives');
  rmSync(`${folder}/back`, { recursive: true });
  type('npx netseal get -r $D/store:/tree $D/back', { exitCode: EXIT_DAMAGED });
  const lost = type('diff -rq --no-dereference $D/tree $D/back', { exitCode: 1 })
    .split('\n')
    .slice(0, -1)
    .map(line => line.replace(/^Only in (.*): (.*)$/, '$1/$2').replace(`${folder}/tree/`, ''))
    .sort();
  check(lost.join() === named.join(), `${lost.join(', ')} did not arrive, ${named.join(', ')} are damaged`);
}
