/**
 * Compares whole commands with other programs' on the same data, in turns: `npm run peers [-- NAME...]`. All of
 * it lies in memory. Programs that are not installed are skipped, and a line says so.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { runCommand } from './command.ts';
import { type Contender, type ContestResult, contest } from './contest.ts';
import { executableCode } from './data.ts';
import { requireSameFolder, writeLargeFile } from './files.ts';
import {
  borg,
  copy,
  gocryptfs,
  isInstalled,
  type Peer,
  rclone,
  renew,
  restic,
  securefs,
} from './peers/peer.ts';
import { isTmpfs } from './places.ts';
import { writeSpreadTree } from './spread-tree.ts';

const MIB = 1024 * 1024;
const ROUNDS = 5;
const OURS = 'netseal';
const PARENT = '/dev/shm';

const netseal: Peer = {
  name: OURS,
  commands: [],
  prepare: async home => {
    await writeFile(`${home}/key`, randomBytes(32), { mode: 0o600 });
    await runCommand(['init', `${home}/store`, ...ourOptions(home)]);
  },
  put: async (home, source) => {
    await runCommand(['put', '-r', source, `${home}/store:/data`, ...ourOptions(home)]);
  },
  get: async (home, target) => {
    await runCommand(['get', '-r', `${home}/store:/data`, target, ...ourOptions(home)]);
  },
};

function ourOptions(home: string): string[] {
  return ['--key-file', `${home}/key`, '--state', `${home}/state`];
}

const PEERS: readonly Peer[] = [copy, gocryptfs, securefs, restic, borg, rclone];

/** What is copied, and in what its speed is told. */
interface Load {
  readonly name: string;
  readonly unit: string;
  readonly amount: number;
  readonly source: string;
}

/** Prints each contender's speed, and ours as a multiple of it. */
function print(load: Load, what: string, result: ContestResult, peers: readonly Peer[]): void {
  console.log(`\n${what} ${load.name}`);
  for (const { name, leavesOut } of peers) {
    const seconds = result.seconds.get(name) ?? Number.NaN;
    const speed = `${(load.amount / seconds).toFixed(0)} ${load.unit}`.padStart(16);
    const ratio = name === OURS ? '' : `netseal is ${result.ratio(OURS, name).toFixed(2)} x as fast`;
    const note = leavesOut === undefined ? '' : ` (without its ${leavesOut})`;
    console.log(`  ${name.padEnd(14)}${speed}  ${ratio}${note}`);
  }
}

async function compare(folder: string, load: Load, peers: readonly Peer[]): Promise<void> {
  const homeOf = ({ name }: Peer): string => `${folder}/${name.replaceAll(/\W/g, '')}`;
  const target = `${folder}/target`;
  const removeTarget = (): Promise<void> => rm(target, { recursive: true, force: true });
  const putters = peers.map(
    (peer): Contender => ({
      name: peer.name,
      prepare: () => renew(peer, homeOf(peer)),
      run: () => peer.put(homeOf(peer), load.source),
    }),
  );
  const getters = peers.map(
    (peer): Contender => ({
      name: peer.name,
      prepare: removeTarget,
      run: () => peer.get(homeOf(peer), target),
    }),
  );
  try {
    print(load, 'in: ', await contest(putters, ROUNDS), peers);
    print(load, 'out:', await contest(getters, ROUNDS), peers);
    await removeTarget();
    await netseal.get(homeOf(netseal), target);
    await requireSameFolder(load.source, target);
  } finally {
    for (const peer of peers) await peer.end?.(homeOf(peer));
    for (const peer of peers) await rm(homeOf(peer), { recursive: true, force: true });
    await removeTarget();
  }
}

/** Returns those of the asked peers that can run here. Says which cannot. */
function presentPeers(asked: readonly string[]): Peer[] {
  const wanted = PEERS.filter(({ name }) => asked.length === 0 || asked.some(word => name.startsWith(word)));
  return wanted.filter(({ name, commands }) => {
    const missing = commands.filter(command => !isInstalled(command));
    if (missing.length > 0) console.log(`${name} is left out: ${missing.join(', ')} is not installed`);
    return missing.length === 0;
  });
}

async function main(): Promise<void> {
  if (!isTmpfs(PARENT)) {
    console.error(`peers needs a file system in memory at ${PARENT}`);
    process.exitCode = 1;
    return;
  }
  const peers = [netseal, ...presentPeers(process.argv.slice(2))];
  const folder = await mkdtemp(`${PARENT}/netseal-peers-`);
  try {
    const fileBytes = 256 * MIB;
    const [large, tree] = [`${folder}/large`, `${folder}/tree`];
    // A folder with one file, so that all programs copy the same way.
    await writeSpreadTree(large, { files: 0, folders: 1 });
    await writeLargeFile(`${large}/file`, executableCode(64 * MIB), fileBytes);
    const largeLoad = { name: '256 MiB of code', unit: 'MB/s', amount: fileBytes / 1e6, source: large };
    await compare(folder, largeLoad, peers);
    await rm(large, { recursive: true });
    const { files, folders, bytes } = await writeSpreadTree(tree, { files: 6000, folders: 1500 });
    const name = `${files} source files, ${(bytes / MIB).toFixed(0)} MiB, in ${folders} folders`;
    await compare(folder, { name, unit: 'files/s', amount: files, source: tree }, peers);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

await main();
