/**
 * Several clients at once, on a store that loses answers, against plain maps: each call happens once, or not at all, as it
 * was answered. `NETSEAL_SEED` replays a failure.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { type Chance, seededChance } from '../../src/base/chance.ts';
import { isNetsealError } from '../../src/base/errors.ts';
import { type FaultKind, seededFaults } from '../../src/server/faults.ts';
import type { DirectoryEntry, FileInode, Inode } from '../../src/server/sealed/inode.ts';
import { withSmallContent } from '../../src/volume/content/small-files.ts';
import { type SmallContent, SmallUpload } from '../../src/volume/content/small-upload.ts';
import type { Directory } from '../../src/volume/names/directory.ts';
import { idOfEntry } from '../../src/volume/names/references.ts';
import type { Volume } from '../../src/volume/volume.ts';
import { SEARCH_MS, SEED } from '../support/soak.ts';
import {
  type At,
  type Done,
  linesOf,
  type Node,
  type Operation,
  type State,
  statesAfter,
} from './model-state.ts';
import { expectCounts, FILE, FOLDER, folderAt, jitteryStore, quiet, TestVolume } from './support.ts';

const UNIT = 4096;
const DELAY_MS_MAX = 4;

interface Setting {
  readonly clients: number;
  /** Calls at once. */
  readonly width: number;
  readonly rounds: number;
  readonly faultRate: number;
  readonly kinds: readonly FaultKind[];
  readonly retry: boolean;
}

/** A few bytes that say whose they are; sometimes more than a unit. */
function someText(chance: Chance): string {
  const text = Math.floor(chance() * 1e9).toString(36);
  return text.repeat(chance() < 0.2 ? 1500 : 1 + Math.floor(chance() * 3));
}

function pick<Item>(items: readonly Item[], chance: Chance): Item {
  const item = items[Math.floor(chance() * items.length)];
  if (item === undefined) throw new Error('nothing to pick from');
  return item;
}

/** The parent that a folder must name: none if it is embedded. */
function parentIn(directory: Directory, { node }: DirectoryEntry): string | undefined {
  return node.kind === 'embedded' ? undefined : directory.key;
}

/** What a fresh client sees. */
async function observe(volume: Volume): Promise<State> {
  const state = new Map<string, Node>();
  const visit = async (directory: Directory): Promise<void> => {
    const inode = await directory.read();
    const entries = new Map<string, string>();
    state.set(directory.id, { type: 'folder', entries, mode: inode.mode });
    await expectCounts(directory);
    for await (const part of volume.names.entries(directory)) {
      for (const entry of part) {
        const found = await volume.names.find(directory, entry.name);
        if (found === undefined) continue;
        const id = idOfEntry(entry);
        expect(idOfEntry(found)).toBe(id);
        entries.set(entry.name, id);
        const below = await volume.inodes.inodeOf(entry);
        if (below.type === 'directory') {
          expect(state.has(id), 'a folder has one name').toBe(false);
          expect([below.parent, below.formerParent?.directory]).toContain(parentIn(directory, entry));
          await visit(volume.inodes.directoryOf(directory, entry));
        } else {
          state.set(id, await nodeOf(volume, directory, entry, below));
        }
      }
    }
  };
  await visit(volume.root);
  return state;
}

async function nodeOf(volume: Volume, parent: Directory, entry: DirectoryEntry, inode: Inode): Promise<Node> {
  const { mode } = inode;
  if (inode.type === 'file') {
    const bytes = Buffer.alloc(inode.sizeBytes);
    await volume.reader(inode, { parent, entry }).read(bytes, 0);
    return { type: 'file', content: bytes.toString('latin1'), mode };
  }
  if (inode.type === 'symlink') {
    return { type: 'symlink', target: Buffer.from(inode.target).toString('latin1'), mode };
  }
  expect(inode.type).toBe('fifo');
  return { type: 'fifo', mode };
}

/** Calls an operation; undefined when there was nothing to call it on. */
type Call = () => Promise<Done | undefined>;

async function outcomeOf(operation: Operation, work: () => Promise<unknown>): Promise<Done> {
  try {
    await work();
    return { operation, code: 'ok' };
  } catch (error) {
    if (!isNetsealError(error)) throw error;
    if (!KNOWN_CODES.has(error.code)) throw error;
    return { operation, code: error.code };
  }
}

const KNOWN_CODES = new Set([
  'ENOENT',
  'EEXIST',
  'EISDIR',
  'ENOTDIR',
  'ENOTEMPTY',
  'EINVAL',
  'ECONFLICT',
  'EUNCERTAIN',
  'EUNAVAILABLE',
]);

/** The names and ids from the root down to a folder. */
function stepsTo(state: State, folder: string): { name: string; id: string }[] {
  for (const [parent, node] of state) {
    if (node.type !== 'folder') continue;
    for (const [name, id] of node.entries) {
      if (id === folder) return [...stepsTo(state, parent), { name, id }];
    }
  }
  return [];
}

/** An operation that a seed chooses. Folders are named by id, as paths take several steps to resolve. */
function chooseCall(volume: Volume, state: State, chance: Chance): Call {
  const folders = [...state].filter(([, node]) => node.type === 'folder').map(([id]) => id);
  const anywhere = (): At => ({ folder: pick(folders, chance), name: pick(['a', 'b', 'c'], chance) });
  const somewhere = (): At => {
    const taken = folders.flatMap(folder => {
      const node = state.get(folder);
      return node?.type === 'folder' ? [...node.entries.keys()].map(name => ({ folder, name })) : [];
    });
    return taken.length > 0 && chance() < 0.85 ? pick(taken, chance) : anywhere();
  };
  const placeOf = ({ folder, name }: At): { directory: Directory; name: string } => ({
    directory: folderAt(volume, stepsTo(state, folder)),
    name,
  });
  const kind = pick(KINDS, chance);
  const { names } = volume;
  switch (kind) {
    case 'mkdir': {
      const at = anywhere();
      const child = names.newDirectory(FOLDER, at.folder);
      const operation = { kind, at, id: child.id, mode: FOLDER.mode };
      const { directory, name } = placeOf(at);
      return () => outcomeOf(operation, () => names.insertDirectory(directory, name, child));
    }
    case 'symlink': {
      const at = anywhere();
      const target = someText(chance).slice(0, 2000);
      const inode = names.newSymlink(FILE, Buffer.from(target));
      const node: Node = { type: 'symlink', target, mode: FILE.mode };
      const operation = { kind: 'put' as const, at, id: inode.id, node, replace: false };
      const { directory, name } = placeOf(at);
      return () => outcomeOf(operation, () => names.insert(directory, name, inode));
    }
    case 'fifo': {
      const at = anywhere();
      const inode = names.newPipe(FILE, 'fifo');
      const node: Node = { type: 'fifo', mode: FILE.mode };
      const operation = { kind: 'put' as const, at, id: inode.id, node, replace: false };
      const { directory, name } = placeOf(at);
      return () => outcomeOf(operation, () => names.insert(directory, name, inode));
    }
    case 'create': {
      const at = anywhere();
      const content = someText(chance);
      const replace = chance() < 0.5;
      const inode = names.newFile(FILE);
      const node: Node = { type: 'file', content, mode: FILE.mode };
      const operation = { kind: 'put' as const, at, id: inode.id, node, replace };
      const isPacked = content.length <= UNIT && chance() < 0.6;
      return () =>
        outcomeOf(operation, async () => {
          const bytes = Buffer.from(content, 'latin1');
          if (isPacked) {
            await putPacked(volume, placeOf(at), inode, bytes, replace);
            return;
          }
          const writer = volume.writer(inode, { ...placeOf(at), id: inode.id }, { isNew: true, replace });
          await writer.write(bytes);
          await writer.close();
        });
    }
    case 'write':
      return writeCall(volume, placeOf(somewhere()), chance);
    case 'chmod': {
      const at = placeOf(somewhere());
      const mode = Math.floor(chance() * 0o1000);
      return async () => {
        const entry = await names.find(at.directory, at.name).catch((error: unknown) => {
          if (!isNetsealError(error)) throw error;
          return undefined;
        });
        if (entry === undefined) return undefined;
        const operation = { kind, id: idOfEntry(entry), mode };
        return await outcomeOf(operation, () => names.setAttributes(at.directory, entry, { mode }));
      };
    }
    case 'unlink': {
      const at = somewhere();
      const { directory, name } = placeOf(at);
      return () => outcomeOf({ kind, at }, () => names.unlink(directory, name));
    }
    case 'rmdir': {
      const at = somewhere();
      const { directory, name } = placeOf(at);
      return () => outcomeOf({ kind, at }, () => names.rmdir(directory, name));
    }
    case 'link': {
      const [from, to] = [somewhere(), anywhere()];
      const target = placeOf(to);
      return () =>
        outcomeOf({ kind, from, to }, () => names.link(placeOf(from), target.directory, target.name));
    }
    case 'rename': {
      const [from, to] = [somewhere(), chance() < 0.3 ? somewhere() : anywhere()];
      return () => outcomeOf({ kind, from, to }, () => names.rename(placeOf(from), placeOf(to)));
    }
  }
}

/** Makes a file that is the second slice of a pack. */
async function putPacked(
  volume: Volume,
  { directory, name }: { directory: Directory; name: string },
  inode: FileInode,
  bytes: Uint8Array,
  replace: boolean,
): Promise<void> {
  const upload = await volume.reserveSmall(2 * UNIT);
  let content: SmallContent | undefined;
  for (const [owner, part] of [
    [volume.names.newFile(FILE), Buffer.from('beside')],
    [inode, bytes],
  ] as const) {
    const into = upload.next(part.byteLength);
    into.set(part);
    content = upload.add(owner, into, part.byteLength);
  }
  const pointer = SmallUpload.find(await upload.submit(), content);
  expect(pointer?.slice?.startBytes).toBe(6);
  const file = withSmallContent({ ...inode, sizeBytes: bytes.byteLength }, pointer);
  await volume.names.insert(directory, name, file, { replace, segments: [pointer?.segment ?? ''] });
}

const KINDS = [
  'mkdir',
  'mkdir',
  'create',
  'create',
  'symlink',
  'fifo',
  'write',
  'write',
  'chmod',
  'unlink',
  'rmdir',
  'link',
  'rename',
  'rename',
  'rename',
  'rename',
] as const;

function writeCall(volume: Volume, at: { directory: Directory; name: string }, chance: Chance): Call {
  const text = someText(chance);
  const [offsetShare, cut] = [chance(), chance() < 0.4];
  return async () => {
    let open: { id: string; before: string; writer: ReturnType<Volume['writer']> };
    try {
      const entry = await volume.names.find(at.directory, at.name);
      if (entry === undefined) return undefined;
      const inode = await volume.inodes.inodeOf(entry);
      if (inode.type !== 'file') return undefined;
      const bytes = Buffer.alloc(inode.sizeBytes);
      await volume.reader(inode, { parent: at.directory, entry }).read(bytes, 0);
      const writer = volume.writer(inode, { ...at, id: inode.id });
      open = { id: inode.id, before: bytes.toString('latin1'), writer };
    } catch (error) {
      if (isNetsealError(error) && KNOWN_CODES.has(error.code)) return undefined;
      throw error;
    }
    const { id, before, writer } = open;
    const offset = Math.floor(offsetShare * (before.length + 100));
    let after = before.padEnd(offset, '\0');
    after = after.slice(0, offset) + text + after.slice(offset + text.length);
    const end = Math.floor(after.length * 0.7);
    if (cut) after = after.slice(0, end);
    return await outcomeOf({ kind: 'write', id, before, after }, async () => {
      await writer.write(Buffer.from(text, 'latin1'), offset);
      if (cut) await writer.truncate(end);
      await writer.commit();
    });
  };
}

async function runModel(seed: number, setting: Setting): Promise<number> {
  const chance = seededChance(seed);
  const keys = seed % 2 === 0 ? 'flat' : 'hex2';
  const test = await TestVolume.create({ unitSizeBytes: UNIT, keys });
  try {
    const volumes: Volume[] = [];
    for (let client = 0; client < setting.clients; client += 1) {
      const clientSeed = Math.floor(chance() * 1e9);
      const { volume } = await test.client({
        faults: seededFaults(clientSeed, setting.faultRate, setting.kinds, DELAY_MS_MAX),
        retry: setting.retry ? { pauseMs: 1, attemptsMax: 3 } : undefined,
        around: store => jitteryStore(store, clientSeed),
      });
      volumes.push(volume);
    }
    const rootId = volumes[0]?.settings.rootId ?? '';
    let state: State = new Map<string, Node>([
      [rootId, { type: 'folder', entries: new Map(), mode: FOLDER.mode }],
    ]);
    let okCount = 0;
    const history: string[] = [];
    for (let round = 0; round < setting.rounds; round += 1) {
      const width = 1 + Math.floor(chance() * setting.width);
      const calls = Array.from({ length: width }, () => chooseCall(pick(volumes, chance), state, chance));
      const done = (await Promise.all(calls.map(call => call()))).filter(one => one !== undefined);
      // What was answered late may still arrive.
      if (setting.kinds.includes('late')) await sleep(2 * DELAY_MS_MAX);
      const fresh = await test.client({ freshMs: 0 });
      const seen = linesOf(await observe(fresh.volume), rootId);
      await fresh.volume.close();
      const possible = statesAfter([state], done);
      const match = possible.find(one => linesOf(one, rootId).join('\n') === seen.join('\n'));
      history.push(...done.map(({ operation, code }) => `${round}: ${code} ${shown(operation)}`));
      if (match === undefined) {
        const views = [...new Set(possible.map(one => linesOf(one, rootId).join('\n')))];
        expect.fail(
          `seed ${seed}, round ${round} of ${JSON.stringify(setting)}\n${history.slice(-12).join('\n')}\nbefore:\n${linesOf(state, rootId).join('\n')}\nseen:\n${seen.join('\n')}\npossible:\n${views.join('\n--\n')}`.slice(
            0,
            6000,
          ),
        );
      }
      // Files without a name may still be written to: they stay known.
      state = match;
      okCount += done.filter(({ code }) => code === 'ok').length;
    }
    return okCount;
  } finally {
    await test.close();
  }
}

function shown(operation: Operation): string {
  return JSON.stringify(operation, (key, value: unknown) =>
    typeof value === 'string' && value.length > 8 && key !== 'kind' ? value.slice(0, 6) : value,
  );
}

const KINDS_OF_FAULT: readonly FaultKind[] = ['refused', 'lost', 'dropped', 'late', 'vague', 'slow'];

describe('a volume against a model', () => {
  const settings: readonly (readonly [string, Setting])[] = [
    ['one client', { clients: 1, width: 1, rounds: 60, faultRate: 0, kinds: [], retry: false }],
    [
      'one client, many calls at once',
      { clients: 1, width: 4, rounds: 40, faultRate: 0, kinds: [], retry: false },
    ],
    ['three clients in turn', { clients: 3, width: 1, rounds: 60, faultRate: 0, kinds: [], retry: false }],
    ['three clients at once', { clients: 3, width: 4, rounds: 40, faultRate: 0, kinds: [], retry: false }],
    [
      'three clients, faults, no retries',
      { clients: 3, width: 3, rounds: 25, faultRate: 0.06, kinds: KINDS_OF_FAULT, retry: false },
    ],
    [
      'three clients, many faults, retries',
      { clients: 3, width: 3, rounds: 25, faultRate: 0.2, kinds: [...KINDS_OF_FAULT, 'short'], retry: true },
    ],
    [
      'one client after the other, faults',
      { clients: 2, width: 1, rounds: 30, faultRate: 0.12, kinds: KINDS_OF_FAULT, retry: false },
    ],
  ];
  for (const [name, setting] of settings) {
    it(`${name}: each call happens once or not at all, as it was answered`, async () => {
      const endMs = performance.now() + 4 * SEARCH_MS;
      let okCount = 0;
      for (let run = 0; run < 2 || performance.now() < endMs; run += 1) {
        okCount += await runModel(SEED + run, setting);
        await quiet();
      }
      // Not everything was refused.
      expect(okCount).toBeGreaterThan(10);
    });
  }
});
