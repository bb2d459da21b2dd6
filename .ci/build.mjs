/**
 * Builds the package, below dist/: `npm run build`.
 *
 *   *.js, *.js.map     the code in few files, for the library, the command line and the threads
 *   types/             declarations of the library
 *   licenses.txt       licences of the packages that are bundled with the command line
 *   chart.*            the browser build of Chart.js, which HTML reports of the bench carry, with its licence
 *
 * A command loads three to six files instead of some hundred and fifty. Packages that the library needs are
 * not bundled: programs that use netseal share them.
 *
 * `--local` builds the package as it is installed, but without declarations, in node_modules/.cache/netseal-package,
 * and beside it the programs that are measured. Tests and benches run that. It does nothing when no source has changed.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  globSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const { dependencies, optionalDependencies, peerDependencies } = JSON.parse(
  readFileSync(`${ROOT}package.json`, 'utf8'),
);
const external = Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies });

const ENTRIES = {
  index: 'src/index.ts',
  testing: 'src/testing.ts',
  unstorage: 'src/unstorage.ts',
  cli: 'src/cli/main.ts',
  worker: 'workers/unit.ts',
};
/**
 * What goes into one file. A group takes along what its modules import, unless an earlier group has it; what is
 * loaded only when it is needed (`import()`) keeps a file of its own.
 */
const GROUPS = [
  // All that a thread loads.
  { name: 'unit', test: /\/src\/pipeline\/(job-worker|protocol)\.ts$/ },
  // What the command line and the library share before a store is opened.
  {
    name: 'base',
    test: /\/src\/((base|system|keys)\/|pipeline\/settings|volume\/names\/name-checks|transfer\/local-names|server\/adapters\/store-url)/,
  },
  // What every command for volumes loads before it has a secret.
  { name: 'cli', test: /\/src\/cli\/(main|lib\/(secrets|frame|json)|volume\/each-path)\.ts$/ },
  // What finds and unlocks a header.
  {
    name: 'store',
    test: /\/src\/(server\/(directory-store|wrap)|volume\/(header-object|state\/state-folder))\.ts$/,
  },
  // The volume itself, which loads while a passphrase is stretched.
  { name: 'volume', test: /\/src\/volume\/volume\.ts$/ },
  { name: 'show', test: /\/src\/cli\/(lib\/(lines|times)|volume\/(entries|inode-display))\.ts$/ },
  { name: 'transfer', test: /\/src\/transfer\/(put|get|put-stream|measure)\.ts$/ },
  { name: 'cache', test: /\/src\/cache\/open\.ts$/ },
].map((group, at, all) => ({ ...group, priority: all.length - at }));
const BENCH_ENTRIES = {
  'stream-rss-child': 'bench/stream-rss-child.ts',
  'copy-rss-child': 'bench/copy-rss-child.ts',
};

/**
 * Bundles the entries. `src/pipeline/pool.ts` knows the names of its own file and of the worker's.
 *
 * @param target the package's folder.
 */
async function bundle(target, input) {
  // It takes longer to load than to find that nothing has changed.
  const { rolldown } = await import('rolldown');
  const bundled = await rolldown({
    cwd: ROOT,
    input,
    platform: 'node',
    plugins: [lighterCommander, lighterBuiltins],
    external: id => id.startsWith('node:') || external.some(name => id === name || id.startsWith(`${name}/`)),
  });
  const { output } = await bundled.write({
    dir: `${target}dist`,
    format: 'esm',
    sourcemap: true,
    entryFileNames: '[name].js',
    chunkFileNames: 'netseal-[name]-[hash].js',
    codeSplitting: { groups: GROUPS },
    comments: { legal: true, annotation: true, jsdoc: false },
  });
  await bundled.close();
  return output;
}

/** Lines of commander that cost time at every start, and what stands in their place. */
const COMMANDER_LINES = [
  // It could hand over to other programs. netseal has none.
  ["import childProcess from 'node:child_process';", 'const childProcess = undefined;'],
  // The import asks for everything that `process` has, which opens the standard input.
  ["import process from 'node:process';", ''],
];
const lighterCommander = {
  name: 'lighter-commander',
  transform(code, id) {
    if (!id.endsWith('/node_modules/commander/lib/command.js')) return null;
    let lighter = code;
    for (const [line, instead] of COMMANDER_LINES) {
      if (!code.includes(line)) throw new Error(`commander has no line ${line} any more`);
      lighter = lighter.replace(line, instead);
    }
    // The lines stay where they were.
    return { code: lighter, map: null };
  },
};

/**
 * Takes Node's own modules by `process.getBuiltinModule` instead of `import`. An import makes a module of names for
 * each, and so reads everything that it has: `node:crypto` loads Web Crypto then, `node:fs` streams, and
 * `node:process` opens the standard input. That is a third of a start.
 */
const lighterBuiltins = {
  name: 'lighter-builtins',
  renderChunk(code) {
    // The lines stay where they were.
    return {
      code: code.replace(/^import (.+) from "(node:[^"]+)";$/gm, (_, names, module) => {
        const from = `process.getBuiltinModule("${module}")`;
        const [, whole, some] = /^(?:\* as )?([\w$]+)?(?:, )?(\{.*\})?$/.exec(names) ?? [];
        const parts = [whole, some?.replaceAll(' as ', ': ')].filter(part => part !== undefined);
        if (parts.length === 0) throw new Error(`no way known to take ${names} from ${module}`);
        return `const ${parts.map(part => `${part} = ${from}`).join(', ')};`;
      }),
      map: null,
    };
  },
};

/** Throws when the library would load modules of the command line, or commander. */
function requireNoCommandLine(output) {
  const chunks = new Map(output.map(chunk => [chunk.fileName, chunk]));
  for (const entry of ['index.js', 'testing.js', 'unstorage.js', 'worker.js']) {
    const files = new Set([entry]);
    for (const file of files) for (const next of chunks.get(file)?.imports ?? []) files.add(next);
    for (const file of files) {
      const found = chunks.get(file)?.moduleIds.find(id => /\/src\/cli\/|\/commander\//.test(id));
      if (found !== undefined) throw new Error(`${entry} loads ${found}`);
    }
  }
}

/** Writes the licences of bundled packages. Throws when one has no licence file. */
function writeLicenses(target, output) {
  const folders = new Set(
    output
      .flatMap(({ moduleIds = [] }) => moduleIds)
      .map(id => /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+\//.exec(id)?.[0])
      .filter(folder => folder !== undefined),
  );
  const texts = [...folders].sort().map(folder => {
    const { name, version } = JSON.parse(readFileSync(`${folder}package.json`, 'utf8'));
    const file = readdirSync(folder).find(entry => /^licen[cs]e/i.test(entry));
    if (file === undefined) throw new Error(`${name} has no licence file`);
    return `${name} ${version}\n\n${readFileSync(`${folder}${file}`, 'utf8').trim()}\n`;
  });
  writeFileSync(`${target}dist/licenses.txt`, texts.join(`\n${'-'.repeat(80)}\n\n`));
}

function copyChart(target) {
  const chart = `${ROOT}node_modules/chart.js/`;
  copyFileSync(`${chart}dist/chart.umd.min.js`, `${target}dist/chart.umd.min.js`);
  copyFileSync(`${chart}LICENSE.md`, `${target}dist/chart.LICENSE.md`);
}

function writeTypes() {
  const compiler = `${ROOT}node_modules/typescript/bin/tsc`;
  execFileSync(process.execPath, [compiler, '-p', 'tsconfig.build.json'], { cwd: ROOT, stdio: 'inherit' });
}

/** Returns a hash of all files that a build is made from, but for packages: of those their versions. */
function fingerprint() {
  const hash = createHash('sha256');
  const paths = globSync(['src/**', 'workers/**', 'bench/*.ts', 'bin/*', '.ci/build.mjs', 'package*.json'], {
    cwd: ROOT,
  });
  for (const path of paths.filter(name => /\.\w+$/.test(name)).sort()) {
    const content = readFileSync(`${ROOT}${path}`);
    hash.update(`${path} ${content.length}\n`).update(content);
  }
  return hash.digest('hex');
}

async function build(target, input) {
  rmSync(`${target}dist`, { recursive: true, force: true });
  const output = await bundle(target, input);
  requireNoCommandLine(output);
  writeLicenses(target, output);
  copyChart(target);
}

async function buildLocal() {
  const target = `${ROOT}node_modules/.cache/netseal-package/`;
  const stamp = `${target}dist/built-from.txt`;
  const now = fingerprint();
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === now) return;
  await build(target, { ...ENTRIES, ...BENCH_ENTRIES });
  mkdirSync(`${target}bin`, { recursive: true });
  for (const path of ['package.json', 'bin/netseal.js']) {
    // What is there may be one file with another checkout's.
    rmSync(`${target}${path}`, { force: true });
    copyFileSync(`${ROOT}${path}`, `${target}${path}`);
  }
  writeFileSync(stamp, now);
}

if (process.argv.includes('--local')) {
  await buildLocal();
} else {
  await build(ROOT, ENTRIES);
  writeTypes();
}
