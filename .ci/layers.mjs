// Writes biome.layers.json, the linter's rules about who may import whom, from the table below. `npm run check` fails when the
// file is not what this table says; `npm run layers` writes it anew.
//
// A layer may import those that stand after it in LAYERS, but for its `bans`. The same holds for the rooms of a layer, by folder;
// `.` is the files that lie in the layer's own folder. Each layer and room says why.
import { readFileSync, writeFileSync } from 'node:fs';

const PUBLIC = [
  '**/index.ts',
  '**/testing.ts',
  '**/unstorage.ts',
  '**/workers/**',
  '**/test/**',
  '**/vectors/**',
  'netseal',
  'netseal/*',
];
const IO = ['node:fs', 'node:fs/*', 'node:net', 'node:http', 'node:https', 'node:child_process'];
const THREADS = {
  group: ['piscina'],
  message:
    'src/pipeline is the only code that starts threads, so that their number and memory are decided in one place.',
};
const pure = name => ({
  group: [...IO, 'piscina'],
  message: `src/${name} is bytes in, bytes out: no I/O and no threads.`,
});

/** From the top down. */
const LAYERS = [
  {
    name: 'cli',
    why: 'src/cli imports the layers, not the public surface.',
    rooms: [
      ['.', 'the program that runs the commands'],
      ['cache', 'Commands of caches do not know the program that runs them.'],
      ['volume', 'Commands of volumes know nothing of caches, nor of the program that runs them.'],
      ['stream', 'Commands of streams know no volumes and no caches.'],
      ['describe', 'Completion and documents are made from any table of commands: they know none of them.'],
      ['lib', 'src/cli/lib is what all commands share: it knows none of them.'],
    ],
  },
  { name: 'fuse', isToCome: true },
  { name: 'bench', why: 'src/bench measures and has no terminal: what it finds, a front end shows.' },
  {
    name: 'transfer',
    bans: ['bench'],
    why: 'src/transfer knows local trees and volumes, no commands: a program can put and get as well.',
  },
  {
    name: 'volume',
    why: 'src/volume joins netfs, server, cache and pipeline. Front ends and local trees lie above it.',
    rooms: [
      ['care', 'gc, compaction and verify work on an open volume.'],
      ['.', 'gc, compaction and verify work on an open volume; the volume does not know them.'],
      [
        'fs',
        'src/volume/fs is what programs call, in the shape of node:fs: it knows paths, and not the volume that joins the parts.',
      ],
      [
        'serving',
        'src/volume/serving is what netfs asks for, one file at a time: it knows neither paths nor the volume that opens them.',
      ],
      [
        'content',
        'src/volume/content is the bytes of one file: it knows neither the volume that joins the parts nor gc.',
      ],
      ['names', 'src/volume/names changes folders: what a file holds, and gc, lie above it.'],
      [
        'history',
        'src/volume/history tells other clients what this one saw, and hears from them: it must work before any folder is read.',
      ],
      [
        'session',
        'src/volume/session is what all parts of one opening share: it can know none of them, or the parts would form a circle.',
      ],
      [
        'state',
        'src/volume/state is what a client remembers between sessions: it outlives each of them and knows none.',
      ],
    ],
  },
  {
    name: 'netfs',
    bans: ['server', 'keys'],
    why: "src/netfs is one file's I/O: it imports cache, pipeline, unit and base. It knows no store and no layout, so that it is tested without them and serves other servers; volume implements its server.",
  },
  {
    name: 'server',
    bans: ['cache'],
    why: 'src/server is stores and the layout on them. It does not know the local cache: netfs joins the two.',
    also: {
      includes: ['src/server/**/*store.ts', 'src/server/directory-*.ts', 'src/server/adapters/**'],
      bans: ['cache', 'pipeline', 'unit', 'keys', 'sealed'],
      why: 'A store holds opaque bytes and never hears of encryption: it imports src/server and base.',
    },
  },
  {
    name: 'cache',
    why: 'src/cache keeps sealed units and knows no files and no servers.',
    rooms: [
      ['.', 'what callers see'],
      ['inspect', 'src/cache/inspect lists and checks what a cache holds; what callers open lies above it.'],
      ['core', 'src/cache/core joins the parts of a cache; what looks at it from outside lies above.'],
      [
        'dirty',
        'src/cache/dirty keeps what no server has yet; it is one part, and does not know what joins the parts.',
      ],
      [
        'clean',
        'src/cache/clean stores, finds and evicts clean units. Dirty data is never evicted, so eviction does not know it.',
      ],
      ['objects', 'src/cache/objects knows volumes, objects, cookies and pins, not where their units lie.'],
      ['rows', 'src/cache/rows is the database of small things: rows in, rows out, whatever they mean.'],
      [
        'zones',
        'src/cache/zones is files that are appended to and given up whole; what is worth keeping is decided above it.',
      ],
      ['index', 'src/cache/index is tables in memory, without any file.'],
      ['base', 'src/cache/base is files, keys and settings that every other folder of the cache stands on.'],
    ],
  },
  {
    name: 'system',
    bans: ['pipeline', 'unit', 'keys'],
    why: 'src/system is calls of the operating system that several layers make with the same care: it imports base only.',
  },
  {
    name: 'pipeline',
    startsThreads: true,
    why: 'src/pipeline is threads and bounce buffers: it knows units, not where they go.',
  },
  { name: 'unit', isPure: true, why: 'src/unit runs in worker threads, too: it imports keys and base.' },
  { name: 'keys', isPure: true, why: 'src/keys imports base only: everything sealed stands on it.' },
  { name: 'base', isPure: true, why: 'src/base imports nothing of netseal: every layer stands on it.' },
];

const folders = names => names.map(name => `**/${name}/**`);
const see = message => `${message} See docs/ARCHITECTURE.md.`;

function rule(includes, patterns) {
  const options = { patterns: patterns.map(({ group, message }) => ({ group, message: see(message) })) };
  return { includes, linter: { rules: { style: { noRestrictedImports: { level: 'error', options } } } } };
}

/** What a room must not import: the rooms above it, by the paths that lead there. */
function above(layer, index) {
  const root = layer.rooms.findIndex(([name]) => name === '.');
  const isInRoot = index === root;
  return layer.rooms.slice(0, index).flatMap(([name]) => {
    if (name !== '.') return [`${isInRoot ? '.' : '..'}/${name}/**`];
    return ['../*.ts'];
  });
}

function rulesOf(layer, index) {
  const upper = LAYERS.slice(0, index).map(({ name }) => name);
  const base = [
    { group: [...folders([...upper, ...(layer.bans ?? [])]), ...PUBLIC], message: layer.why },
    layer.isPure ? pure(layer.name) : layer.startsThreads ? [] : THREADS,
  ].flat();
  const rules = [rule([`src/${layer.name}/**`], base)];
  for (const [at, [room, why]] of (layer.rooms ?? []).entries()) {
    const group = above(layer, at);
    if (group.length === 0) continue;
    const files = room === '.' ? `src/${layer.name}/*.ts` : `src/${layer.name}/${room}/**`;
    rules.push(rule([files], [{ group, message: why }, ...base]));
  }
  if (layer.also !== undefined) {
    const { includes, bans, why } = layer.also;
    rules.push(
      rule(includes, [{ group: [...folders([...upper, ...bans]), ...PUBLIC], message: why }, THREADS]),
    );
  }
  return rules;
}

const workers = rule(
  ['workers/**'],
  [
    {
      group: [
        ...folders([
          ...LAYERS.slice(
            0,
            LAYERS.findIndex(({ name }) => name === 'pipeline'),
          ).map(({ name }) => name),
          'test',
          'vectors',
        ]),
        '**/index.ts',
        '**/testing.ts',
        '**/unstorage.ts',
        'netseal',
        'netseal/*',
      ],
      message:
        'A worker thread loads src/pipeline, unit, keys and base only: each module costs every thread memory.',
    },
  ],
);

const config = {
  $schema: './node_modules/@biomejs/biome/configuration_schema.json',
  overrides: [...LAYERS.flatMap((layer, index) => (layer.isToCome ? [] : rulesOf(layer, index))), workers],
};
const file = new URL('../biome.layers.json', import.meta.url);
const text = `${JSON.stringify(config, undefined, 2)}\n`;
if (process.argv.includes('--check')) {
  if (readFileSync(file, 'utf8') !== text) {
    console.error('biome.layers.json is not what .ci/layers.mjs says: npm run layers');
    process.exitCode = 1;
  }
} else {
  writeFileSync(file, text);
}
