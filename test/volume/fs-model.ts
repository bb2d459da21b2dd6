/**
 * Files and names of a volume, driven by chance through `volume.fs` by two clients, and held against a plain model.
 * What is under way at once forms a round: calls on different files, by both clients, in an order of the store's
 * answers that the seed decides.
 *
 * A file that somebody has open is one client's: the other may give it another name meanwhile, and nothing else.
 * What was closed is both clients'.
 */
import type { Chance } from '../../src/base/chance.ts';
import type { VolumeFile } from '../../src/volume/fs/volume-file.ts';
import type { Volume } from '../../src/volume/volume.ts';
import { changed, whyNotEqual } from '../netfs/file-model.ts';
import { patternOf } from '../netfs/pattern.ts';
import type { Turns } from '../netfs/turns.ts';

export interface FsModelSetting {
  readonly rounds: number;
  readonly folders: readonly string[];
  /** Names in each folder. */
  readonly names: readonly string[];
  readonly sizeBytes: number;
  readonly writeBytes: number;
}

/** A file as it should be. */
interface ModelFile {
  readonly number: number;
  readonly paths: Set<string>;
  content: Uint8Array;
  /** Who has it open. */
  owner: number | undefined;
  /** Whether the other client is sure to find it. */
  isStored: boolean;
  readonly handles: { readonly file: VolumeFile; readonly isAppending: boolean }[];
}

/** Something to do, and what it needs for itself. */
interface Action {
  readonly what: string;
  readonly paths: readonly string[];
  readonly files: readonly ModelFile[];
  readonly run: () => Promise<void>;
}

type Counts = Map<string, number>;

const HANDLES_MAX = 3;
const ACTIONS_MAX = 5;

export class FsModel {
  /** How often each thing was done: a run that did nothing checks nothing. */
  readonly counts: Counts = new Map();
  readonly #volumes: readonly Volume[];
  readonly #turns: Turns;
  readonly #setting: FsModelSetting;
  readonly #chance: Chance;
  readonly #names = new Map<string, ModelFile>();
  readonly #files = new Set<ModelFile>();
  readonly #log: string[] = [];
  #fileCount = 0;
  #writeCount = 0;
  #round = 0;

  constructor(volumes: readonly Volume[], turns: Turns, setting: FsModelSetting, chance: Chance) {
    this.#volumes = volumes;
    this.#turns = turns;
    this.#setting = setting;
    this.#chance = chance;
  }

  /** What should be there, by path. */
  get contents(): Map<string, Uint8Array> {
    return new Map([...this.#names].map(([path, { content }]) => [path, content]));
  }

  async run(): Promise<void> {
    try {
      for (; this.#round < this.#setting.rounds; this.#round += 1) {
        await this.#playRound();
        if (this.#chance() < 0.2) await this.#lookAtNames();
        if (this.#chance() < 0.05) await this.#turns.pass(this.#below(9000));
      }
      for (const file of [...this.#files]) await this.#turns.run(this.#closeAll(file));
    } catch (error) {
      const history = this.#log.slice(-50).join('\n');
      throw new Error(`seed ${this.#turns.seed}, round ${this.#round}: ${error}\n${history}`, {
        cause: error,
      });
    }
  }

  async #playRound(): Promise<void> {
    const busy = new Set<unknown>();
    const actions: Action[] = [];
    for (let left = 1 + this.#below(ACTIONS_MAX); left > 0; left -= 1) {
      const action = this.#newAction(this.#below(this.#volumes.length));
      const needs = action === undefined ? [] : [...action.paths, ...action.files];
      if (action === undefined || needs.some(need => busy.has(need))) continue;
      for (const need of needs) busy.add(need);
      actions.push(action);
    }
    await this.#turns.run(Promise.all(actions.map(action => this.#perform(action))));
    for (const { number, content, handles } of this.#files) {
      for (const { file } of handles) {
        const { sizeBytes } = file;
        if (sizeBytes === content.byteLength) continue;
        throw new Error(`file ${number} has ${sizeBytes} bytes, not ${content.byteLength}`);
      }
    }
  }

  async #perform({ what, run }: Action): Promise<void> {
    this.#log.push(`${this.#round}: ${what} begins`);
    await run().catch(error => {
      throw new Error(`${what}: ${error}`, { cause: error });
    });
    this.#log.push(`${this.#round}: ${what} ends`);
    const verb = what.split(' ')[1] ?? '';
    this.counts.set(verb, 1 + (this.counts.get(verb) ?? 0));
  }

  #newAction(client: number): Action | undefined {
    const path = this.#somePath();
    const file = this.#names.get(path);
    const mine = [...this.#files].filter(({ owner, handles }) => owner === client && handles.length > 0);
    const open = mine[this.#below(mine.length)];
    const chance = this.#chance();
    if (open !== undefined && chance < 0.55) return this.#onHandle(client, open);
    if (file === undefined) return this.#create(client, path);
    if (file.owner !== undefined && file.owner !== client) {
      return file.isStored ? this.#rename(client, path, file, true) : undefined;
    }
    if (chance < 0.65) return this.#rename(client, path, file, false);
    if (chance < 0.72) return this.#unlink(client, path, file);
    if (chance < 0.76) return this.#link(client, path, file);
    if (chance < 0.8) return this.#copy(client, path, file);
    if (chance < 0.85) return this.#truncatePath(client, path, file);
    if (chance < 0.9) return this.#refused(client, path, file);
    return this.#open(client, path, file);
  }

  #create(client: number, path: string): Action {
    const flags = this.#pick(['w+', 'a+', 'wx+', 'write'] as const);
    return {
      what: `${client} create ${path} ${flags}`,
      paths: [path],
      files: [],
      run: async () => {
        const { fs } = this.#volume(client);
        const file = this.#newFile([path]);
        if (flags === 'write') {
          const change = this.#newChange(0);
          await fs.writeFile(path, change.bytes);
          file.content = change.bytes;
          file.isStored = true;
        } else {
          file.handles.push({ file: await fs.open(path, flags), isAppending: flags === 'a+' });
          file.owner = client;
          file.isStored = flags === 'wx+';
        }
        this.#files.add(file);
        this.#names.set(path, file);
      },
    };
  }

  #open(client: number, path: string, file: ModelFile): Action | undefined {
    if (file.handles.length >= HANDLES_MAX) return undefined;
    const flags = this.#pick(['r+', 'r+', 'a+', 'w+'] as const);
    return {
      what: `${client} open ${path} ${flags}`,
      paths: [path],
      files: [file],
      run: async () => {
        const opened = await this.#volume(client).fs.open(path, flags);
        file.handles.push({ file: opened, isAppending: flags === 'a+' });
        file.owner = client;
        if (flags === 'w+') file.content = new Uint8Array();
      },
    };
  }

  /** The target may be another file, open or not, of which this client may dispose. */
  #rename(client: number, path: string, file: ModelFile, isOthers: boolean): Action | undefined {
    const folder = path.slice(0, path.lastIndexOf('/'));
    const to = isOthers ? `${folder}/${this.#pick(this.#setting.names)}` : this.#somePath();
    const there = this.#names.get(to);
    if (to === path || (there?.owner !== undefined && there.owner !== client)) return undefined;
    return {
      what: `${client} rename ${path} to ${to}`,
      paths: [path, to],
      files: [file, ...(there === undefined || there === file ? [] : [there])],
      run: async () => {
        await this.#volume(client).fs.rename(path, to);
        // Two names of one file stay.
        if (there === file) return;
        this.#dropName(to);
        this.#names.delete(path);
        file.paths.delete(path);
        this.#names.set(to, file);
        file.paths.add(to);
        file.isStored = true;
      },
    };
  }

  #unlink(client: number, path: string, file: ModelFile): Action {
    return {
      what: `${client} unlink ${path}`,
      paths: [path],
      files: [file],
      run: async () => {
        await this.#volume(client).fs.unlink(path);
        this.#dropName(path);
      },
    };
  }

  #link(client: number, path: string, file: ModelFile): Action | undefined {
    const to = this.#somePath();
    if (this.#names.has(to)) return undefined;
    return {
      what: `${client} link ${path} as ${to}`,
      paths: [path, to],
      files: [file],
      run: async () => {
        await this.#volume(client).fs.link(path, to);
        this.#names.set(to, file);
        file.paths.add(to);
        file.isStored = true;
      },
    };
  }

  #copy(client: number, path: string, file: ModelFile): Action | undefined {
    const to = this.#somePath();
    if (this.#names.has(to)) return undefined;
    return {
      what: `${client} copy ${path} to ${to}`,
      paths: [path, to],
      files: [file],
      run: async () => {
        await this.#volume(client).fs.copyFile(path, to);
        const copy = this.#newFile([to]);
        copy.content = file.content;
        copy.isStored = true;
        file.isStored = true;
        this.#files.add(copy);
        this.#names.set(to, copy);
      },
    };
  }

  #truncatePath(client: number, path: string, file: ModelFile): Action {
    const sizeBytes = this.#below(this.#setting.sizeBytes);
    return {
      what: `${client} truncate ${path} to ${sizeBytes}`,
      paths: [path],
      files: [file],
      run: async () => {
        await this.#volume(client).fs.truncate(path, sizeBytes);
        file.content = changed(file.content, { kind: 'truncate', sizeBytes });
        file.isStored = true;
      },
    };
  }

  /** What must not happen does not. */
  #refused(client: number, path: string, file: ModelFile): Action {
    return {
      what: `${client} refuse ${path}`,
      paths: [path],
      files: [file],
      run: async () => {
        const { fs } = this.#volume(client);
        const make = this.#pick([
          () => fs.open(path, 'wx'),
          () => fs.mkdir(path),
          () => fs.symlink('/', path),
          () => fs.link(path, path),
        ]);
        await expectCode(make(), 'EEXIST');
        const { size, nlink } = await fs.stat(path);
        if (size !== file.content.byteLength) throw new Error(`size ${size}, not ${file.content.byteLength}`);
        if (nlink < file.paths.size) throw new Error(`${nlink} names, not ${file.paths.size}`);
      },
    };
  }

  #onHandle(client: number, file: ModelFile): Action {
    const { handles } = file;
    const at = this.#below(handles.length);
    const handle = this.#pick(handles);
    const name = `${client} NAME file ${file.number} (${[...file.paths].join(', ') || 'no name'})`;
    const action = (verb: string, run: () => Promise<void>): Action => {
      return { what: name.replace('NAME', verb), paths: [...file.paths], files: [file], run };
    };
    const chance = this.#chance();
    if (chance < 0.4) return action('write', () => this.#write(file, handle));
    if (chance < 0.6) return action('read', () => this.#read(file, handle.file));
    if (chance < 0.75) return action('resize', () => this.#resize(file, handle.file));
    if (chance < 0.85) {
      return action('sync', async () => {
        await handle.file.sync();
        file.isStored = true;
      });
    }
    if (chance < 0.95) {
      return action('close', async () => {
        await handles.splice(at, 1)[0]?.file.close();
        this.#closed(file);
      });
    }
    return action('leave', () => this.#closeAll(file));
  }

  async #write(file: ModelFile, handle: ModelFile['handles'][number]): Promise<void> {
    const { content } = file;
    const offsetBytes = handle.isAppending ? content.byteLength : this.#below(this.#setting.sizeBytes);
    const change = this.#newChange(offsetBytes);
    file.content = changed(content, change);
    await handle.file.write(change.bytes, { position: offsetBytes });
  }

  async #read(file: ModelFile, handle: VolumeFile): Promise<void> {
    const buffer = new Uint8Array(file.content.byteLength + 10);
    const { bytesRead } = await handle.read(buffer, { position: 0 });
    const why = whyNotEqual(buffer.subarray(0, bytesRead), file.content);
    if (why !== undefined) throw new Error(why);
    const { size, nlink } = await handle.stat();
    if (size !== file.content.byteLength) throw new Error(`size ${size}, not ${file.content.byteLength}`);
    if (nlink > 0 !== file.paths.size > 0) throw new Error(`${nlink} names, not ${file.paths.size}`);
  }

  async #resize(file: ModelFile, handle: VolumeFile): Promise<void> {
    const { content } = file;
    const sizeBytes = this.#below(this.#setting.sizeBytes);
    const from = this.#below(content.byteLength + 5000);
    const zeros = new Uint8Array(1 + this.#below(this.#setting.writeBytes));
    const written = changed(content, { kind: 'write', offsetBytes: from, bytes: zeros });
    const longer = Math.max(sizeBytes, content.byteLength);
    const [after, call] = this.#pick<[Uint8Array, () => Promise<void>]>([
      [changed(content, { kind: 'truncate', sizeBytes }), () => handle.truncate(sizeBytes)],
      [changed(content, { kind: 'truncate', sizeBytes: longer }), () => handle.allocate(sizeBytes)],
      [written.subarray(0, content.byteLength), () => handle.punchHole(from, zeros.byteLength)],
      [written, () => handle.zeroRange(from, zeros.byteLength)],
    ]);
    file.content = after;
    await call();
  }

  async #closeAll(file: ModelFile): Promise<void> {
    for (const { file: handle } of file.handles.splice(0)) await handle.close();
    this.#closed(file);
  }

  #closed(file: ModelFile): void {
    file.isStored = true;
    if (file.handles.length > 0) return;
    file.owner = undefined;
    if (file.paths.size === 0) this.#files.delete(file);
  }

  #dropName(path: string): void {
    const file = this.#names.get(path);
    if (file === undefined) return;
    this.#names.delete(path);
    file.paths.delete(path);
    if (file.paths.size === 0 && file.handles.length === 0) this.#files.delete(file);
  }

  /** Both clients list what is there. New files of the other one may be missing. */
  async #lookAtNames(): Promise<void> {
    for (const [client, { fs }] of this.#volumes.entries()) {
      for (const folder of this.#setting.folders) {
        const listed = await this.#turns.run(fs.readdir(folder === '' ? '/' : folder));
        const found = listed.filter(name => !this.#setting.folders.includes(`${folder}/${name}`));
        const here = [...this.#names].filter(([path]) => path.slice(0, path.lastIndexOf('/')) === folder);
        const sure = here.filter(([, { owner, isStored }]) => isStored || owner === client);
        const nameOf = (path: string): string => path.slice(folder.length + 1);
        const missing = sure.filter(([path]) => !found.includes(nameOf(path)));
        const extra = found.filter(name => !this.#names.has(`${folder}/${name}`));
        const isAscending = found.every((name, at) => at === 0 || (found[at - 1] ?? '') < name);
        if (missing.length > 0 || extra.length > 0 || !isAscending) {
          throw new Error(
            `client ${client} lists ${folder}/: ${found}; missing ${missing.map(([path]) => path)}`,
          );
        }
      }
    }
  }

  #newFile(paths: readonly string[]): ModelFile {
    this.#fileCount += 1;
    const file = { number: this.#fileCount, paths: new Set(paths), content: new Uint8Array() };
    return { ...file, owner: undefined, isStored: false, handles: [] };
  }

  #newChange(offsetBytes: number): { kind: 'write'; offsetBytes: number; bytes: Uint8Array } {
    this.#writeCount += 1;
    const lengthBytes = 1 + this.#below(this.#chance() < 0.6 ? 700 : this.#setting.writeBytes);
    return { kind: 'write', offsetBytes, bytes: patternOf(this.#writeCount, offsetBytes, lengthBytes) };
  }

  #somePath(): string {
    return `${this.#pick(this.#setting.folders)}/${this.#pick(this.#setting.names)}`;
  }

  #volume(client: number): Volume {
    const volume = this.#volumes[client];
    if (volume === undefined) throw new Error(`there is no client ${client}`);
    return volume;
  }

  #below(count: number): number {
    return Math.floor(this.#chance() * count);
  }

  #pick<Item>(items: readonly Item[]): Item {
    const item = items[this.#below(items.length)];
    if (item === undefined) throw new Error('nothing to pick from');
    return item;
  }
}

async function expectCode(call: Promise<unknown>, code: string): Promise<void> {
  const found = await call.then(
    () => 'no error',
    error => String(error.code),
  );
  if (found !== code) throw new Error(`${found}, not ${code}`);
}
