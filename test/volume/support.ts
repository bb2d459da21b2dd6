/** Volumes for tests: one store, any number of clients, each with a session, a state, a meter and faults of its own. */
import { randomBytes } from 'node:crypto';
import { expect } from 'vitest';
import { seededChance } from '../../src/base/chance.ts';
import { isNetsealError, NetsealError } from '../../src/base/errors.ts';
import { createVolumeHeader } from '../../src/keys/unlock.ts';
import type { VolumeHeader } from '../../src/keys/volume-header.ts';
import { openPipeline, type Pipeline } from '../../src/pipeline/pipeline.ts';
import type { FaultPlan } from '../../src/server/faults.ts';
import { ForwardingStore, type StoreCall, type StoreOperation } from '../../src/server/forward.ts';
import { MemoryStore } from '../../src/server/memory-store.ts';
import { StoreMeter } from '../../src/server/meter.ts';
import type { RetrySettings } from '../../src/server/retry.ts';
import type { Attributes, DirectoryEntry, DirectoryInode, FileInode } from '../../src/server/sealed/inode.ts';
import type { ObjectStore } from '../../src/server/store.ts';
import { wrapStore } from '../../src/server/wrap.ts';
import { withSmallContent } from '../../src/volume/content/small-files.ts';
import { SmallUpload } from '../../src/volume/content/small-upload.ts';
import { attachState } from '../../src/volume/header-object.ts';
import type { Directory } from '../../src/volume/names/directory.ts';
import type { NewName } from '../../src/volume/names/namespace.ts';
import { typeOfEntry } from '../../src/volume/names/references.ts';
import { createRoot } from '../../src/volume/root.ts';
import {
  checkVolumeSettings,
  decodeSettings,
  encodeSettings,
  type VolumeSettings,
} from '../../src/volume/session/volume-settings.ts';
import { type ClientState, memoryStateOf } from '../../src/volume/state/client-state.ts';
import { HeadMemory } from '../../src/volume/state/head-memory.ts';
import { Volume } from '../../src/volume/volume.ts';
import type { OpenVolumeOptions } from '../../src/volume/volume-options.ts';

export const FOLDER: Attributes = { mode: 0o755, uid: 0, gid: 0, mtimeNs: 5n, xattrs: [] };
export const FILE: Attributes = { ...FOLDER, mode: 0o644 };

let sharedPipeline: Promise<Pipeline> | undefined;

/** One for all test files of a process, on the calling thread: nobody closes it. */
export function testPipeline(): Promise<Pipeline> {
  sharedPipeline ??= openPipeline({ workers: 0, memoryBytes: 64 * 1024 * 1024 });
  return sharedPipeline;
}

export interface ClientOptions extends Partial<OpenVolumeOptions> {
  readonly faults?: FaultPlan | undefined;
  readonly retry?: RetrySettings | undefined;
  /** Between the client and everything else. */
  readonly around?: ((store: ObjectStore) => ObjectStore) | undefined;
}

/** A mounted client. */
export interface Client {
  readonly volume: Volume;
  readonly store: ObjectStore;
  readonly meter: StoreMeter;
  readonly state: ClientState;
}

export class TestVolume {
  readonly store: ObjectStore;
  readonly header: VolumeHeader;
  readonly #clients: Client[] = [];

  /** A volume with an empty root. */
  static async create(
    settings: Partial<VolumeSettings> = {},
    store: ObjectStore = new MemoryStore(),
  ): Promise<TestVolume> {
    const header = await createVolumeHeader({
      slots: [{ label: 'test', secret: { type: 'raw-key', key: randomBytes(32) } }],
      settings: encodeSettings(checkVolumeSettings({ unitSizeBytes: 4096, ...settings })),
    });
    await createRoot(store, header, FOLDER);
    return new TestVolume(store, header);
  }

  constructor(store: ObjectStore, header: VolumeHeader) {
    this.store = store;
    this.header = header;
  }

  get rootId(): string {
    return decodeSettings(this.header.settings).rootId;
  }

  /** Asks the store for everything (`freshMs` 0) unless told otherwise. */
  async client({ faults, retry, around, ...options }: ClientOptions = {}): Promise<Client> {
    const meter = new StoreMeter();
    const wrapped = wrapStore(
      this.store,
      retry === undefined ? {} : { retry },
      faults === undefined ? { meter } : { meter, faults },
    );
    const store = around === undefined ? wrapped : around(wrapped);
    const state = options.state ?? memoryStateOf(HeadMemory.fresh());
    await attachState(state, this.header);
    const pipeline = options.pipeline ?? (await testPipeline());
    const volume = await Volume.open({ freshMs: 0, store, header: this.header, ...options, pipeline, state });
    const client = { volume, store, meter, state };
    this.#clients.push(client);
    return client;
  }

  /** Ends all sessions, also those that cannot sync any more. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#clients.splice(0).map(({ volume }) => volume.close()));
  }
}

/** `inner`, asked through `around`. */
export function aroundStore(
  inner: ObjectStore,
  around: <Result>(call: StoreCall<Result>) => Promise<Result>,
): ObjectStore {
  return new ForwardingStore(inner, around);
}

/** A client's store that stops for good after so many requests: what a crash leaves. */
export class DyingStore {
  readonly store: ObjectStore;
  #left = Number.POSITIVE_INFINITY;
  #sent = 0;

  constructor(inner: ObjectStore) {
    this.store = aroundStore(inner, async call => {
      if (this.#left <= 0) throw new NetsealError('EDENIED', 'this client is dead');
      this.#left -= 1;
      this.#sent += 1;
      return await call.send();
    });
  }

  /** From now on. */
  dieAfter(requests: number): void {
    this.#left = requests;
    this.#sent = 0;
  }

  get sentCount(): number {
    return this.#sent;
  }

  get isDead(): boolean {
    return this.#left <= 0;
  }
}

/** Requests wait until they are let through one by one: any order of several clients' requests. */
export class SteppedStore {
  readonly store: ObjectStore;
  readonly waiting: { readonly operation: StoreOperation; readonly key: string; readonly go: () => void }[] =
    [];
  #isOpen = true;

  constructor(inner: ObjectStore) {
    this.store = aroundStore(inner, async call => {
      if (!this.#isOpen) {
        await new Promise<void>(go => {
          this.waiting.push({ operation: call.operation, key: call.key, go });
        });
      }
      return await call.send();
    });
  }

  hold(): void {
    this.#isOpen = false;
  }

  open(): void {
    this.#isOpen = true;
    for (const { go } of this.waiting.splice(0)) go();
  }

  /** Lets the first waiting request through; false when there is none. */
  step(): boolean {
    const first = this.waiting.shift();
    first?.go();
    return first !== undefined;
  }
}

/** Lets everything that can go on go on. */
export async function quiet(turns = 12): Promise<void> {
  for (let turn = 0; turn < turns; turn += 1) await new Promise(setImmediate);
}

export async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return 'ok';
  } catch (error) {
    if (isNetsealError(error)) return error.code;
    throw error;
  }
}

/** Incompressible bytes that a seed fixes. */
export function bytesOf(seed: number, lengthBytes: number): Buffer<ArrayBuffer> {
  const chance = seededChance(seed);
  const bytes = Buffer.alloc(lengthBytes);
  for (let at = 0; at < lengthBytes; at += 1) bytes[at] = chance() * 256;
  return bytes;
}

export async function makeFolder(volume: Volume, path: string): Promise<Directory> {
  const { directory, name } = await volume.place(path);
  const folder = volume.names.newDirectory(FOLDER, directory.id);
  await volume.names.insertDirectory(directory, name, folder);
  return folder;
}

export async function writeFile(
  volume: Volume,
  path: string,
  bytes: Uint8Array,
  options: { readonly replace?: boolean; readonly unitSizeBytes?: number } = {},
): Promise<void> {
  const writer = await volume.createFile(path, FILE, options);
  await writer.write(bytes);
  await writer.close();
}

/** A file for {@link packFiles}. */
export interface FileToPack {
  readonly directory: Directory;
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly attributes?: Partial<Attributes>;
}

/** Uploads files that arrive together, as `put` does, so that small ones share packs. Gives no names yet. */
export async function uploadTogether(
  volume: Volume,
  files: readonly FileToPack[],
): Promise<(NewName & { readonly directory: Directory; readonly inode: FileInode })[]> {
  const upload = await volume.reserveSmall(Math.max(1, sumOf(files.map(({ bytes }) => bytes.byteLength))));
  const added = files.map(({ directory, name, bytes, attributes }) => {
    const inode = { ...volume.names.newFile({ ...FILE, ...attributes }), sizeBytes: bytes.byteLength };
    const into = upload.next(bytes.byteLength);
    into.set(bytes);
    const content = bytes.byteLength === 0 ? undefined : upload.add(inode, into, bytes.byteLength);
    return { directory, name, inode, content };
  });
  if (upload.isEmpty) upload.drop();
  const placed = upload.isEmpty ? [] : await upload.submit();
  return added.map(({ directory, name, inode, content }) => {
    const pointer = SmallUpload.find(placed, content);
    const segments = pointer === undefined ? [] : [pointer.segment];
    return { directory, name, inode: withSmallContent(inode, pointer), segments };
  });
}

/** Makes files that arrive together: those of up to a unit, by owner, share packs. */
export async function packFiles(volume: Volume, files: readonly FileToPack[]): Promise<void> {
  for (const { directory, ...name } of await uploadTogether(volume, files)) {
    const failures = await volume.names.insertMany(directory, [name]);
    for (const failure of failures) if (failure !== undefined) throw failure;
  }
}

/**
 * Makes or replaces a file of up to a unit as one slice of a pack. The rest of the pack is garbage from the
 * beginning.
 */
export async function writePacked(volume: Volume, path: string, bytes: Uint8Array): Promise<void> {
  const { directory, name } = await volume.place(path);
  const beside = { directory, name: 'beside', bytes: bytesOf(7, 100) };
  const [, file] = await uploadTogether(volume, [beside, { directory, name, bytes }]);
  if (file === undefined) throw new Error('nothing was uploaded');
  await volume.names.insert(directory, name, file.inode, { replace: true, segments: file.segments });
}

function sumOf(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0);
}

export async function readFile(volume: Volume, path: string): Promise<Buffer> {
  const reader = await volume.openFile(path);
  const bytes = Buffer.alloc(reader.sizeBytes);
  await reader.read(bytes, 0);
  return bytes;
}

export async function entriesOf(volume: Volume, path: string): Promise<DirectoryEntry[]> {
  const all: DirectoryEntry[] = [];
  for await (const entries of volume.names.entries(await volume.directory(path))) all.push(...entries);
  return all;
}

export async function namesIn(volume: Volume, path: string): Promise<string[]> {
  return (await entriesOf(volume, path)).map(({ name }) => name);
}

/** Fails unless the counts of a folder are those of its stored entries. Asks nothing while others change the folder. */
export async function expectCounts(directory: Directory): Promise<void> {
  const { version, entryCount, subdirectoryCount } = await directory.read(0);
  const types: string[] = [];
  for await (const entries of directory.entries()) types.push(...entries.map(typeOfEntry));
  if ((await directory.read(0)).version !== version) return;
  const directories = types.filter(type => type === 'directory');
  expect([entryCount, subdirectoryCount]).toEqual([types.length, directories.length]);
}

/** Makes a folder that is an object of its own. */
export async function makeObjectFolder(volume: Volume, path: string): Promise<Directory> {
  const folder = await makeFolder(volume, path);
  await volume.moves.promote(folder);
  return folder;
}

/**
 * A folder by the names and ids on its way from the root, without reading anything. It may be embedded or an object:
 * whoever uses it finds out.
 */
export function folderAt(
  volume: Volume,
  steps: readonly { readonly name: string; readonly id: string }[],
): Directory {
  let directory = volume.root;
  for (const { name, id } of steps) {
    const inode = { id, type: 'directory' } as DirectoryInode;
    directory = volume.inodes.directoryOf(directory, { name, node: { kind: 'embedded', inode } });
  }
  return directory;
}

/** Everything below a folder: files with their bytes, folders with a slash, symlinks with their target. */
export async function treeOf(volume: Volume, path = '/'): Promise<Map<string, string>> {
  const tree = new Map<string, string>();
  await expectCounts(await volume.directory(path));
  for (const entry of await entriesOf(volume, path)) {
    const below = `${path === '/' ? '' : path}/${entry.name}`;
    const inode = await volume.inodes.inodeOf(entry);
    if (inode.type === 'directory') {
      tree.set(`${below}/`, inode.isDead ? 'dead' : 'folder');
      if (!inode.isDead) for (const [name, what] of await treeOf(volume, below)) tree.set(name, what);
    } else if (inode.type === 'symlink') {
      tree.set(below, `-> ${Buffer.from(inode.target).toString('latin1')}`);
    } else if (inode.type !== 'file') {
      tree.set(below, inode.type);
    } else {
      const reader = volume.reader(inode, { parent: await volume.directory(path), entry });
      const bytes = Buffer.alloc(reader.sizeBytes);
      await reader.read(bytes, 0);
      tree.set(below, bytes.toString('latin1'));
    }
  }
  return tree;
}

/** Requests and their answers take a few turns, as a seed says: clients overtake one another. */
export function jitteryStore(inner: ObjectStore, seed: number, turnsMax = 6): ObjectStore {
  const chance = seededChance(seed);
  return aroundStore(inner, async call => {
    await quiet(Math.floor(chance() * turnsMax));
    try {
      return await call.send();
    } finally {
      await quiet(Math.floor(chance() * turnsMax));
    }
  });
}
