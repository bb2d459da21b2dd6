/**
 * Drives files by chance, and holds what they answer against plain models. All that is under way at once forms a
 * round: up to three calls a file, on several files and handles, in an order of completion that the seed
 * decides.
 */
import { expect } from 'vitest';
import type { Chance } from '../../src/base/chance.ts';
import { FileModel, type Step, type WritingChange, whyNotEqual } from './file-model.ts';
import { patternOf } from './pattern.ts';
import type { Turns } from './turns.ts';

/** What the model needs of an open file. */
export interface FileUnderTest {
  /** Returns how many bytes it has read. */
  read(into: Uint8Array, positionBytes: number, signal?: AbortSignal): Promise<number>;
  /** Returns how many bytes it has written. Without a position it appends. */
  write(bytes: Uint8Array, positionBytes: number | undefined, signal?: AbortSignal): Promise<number>;
  truncate(sizeBytes: number): Promise<void>;
  sync(): Promise<void>;
  close(): Promise<void>;
}

export type OpenMode = 'plain' | 'append' | 'dsync';

/** Files by number, on a server that a scheduler holds the strings of. */
export interface World {
  readonly turns: Turns;
  open(file: number, mode: OpenMode): Promise<FileUnderTest>;
  /** What somebody sees of a file who was not here before. Asks past all gates and faults. */
  stored(file: number): Promise<Uint8Array>;
  /** From now on nothing fails. */
  heal(): void;
  /** Closes everything. Fails when memory was not given back, or the agreement with the server was broken. */
  end(): Promise<void>;
}

export interface ModelSetting {
  readonly files: number;
  readonly rounds: number;
  /** Bytes that a file is unlikely to outgrow. */
  readonly sizeBytes: number;
  /** How large a write is at most. */
  readonly writeBytes: number;
  /** Calls at once on a file. */
  readonly width: number;
  /** True when calls may fail. */
  readonly canFail: boolean;
  /** How many calls are aborted, from 0 to 1. */
  readonly abortShare: number;
}

/** How much there was of everything: a run that only failed checks nothing. */
export interface ModelCounts {
  writes: number;
  reads: number;
  syncs: number;
  refused: number;
  aborted: number;
  /** Looks at the store while something was not synced. */
  unsyncedLooks: number;
}

interface ModelFile {
  readonly number: number;
  readonly model: FileModel;
  readonly handles: { file: FileUnderTest; mode: OpenMode }[];
}

const HANDLES_MAX = 3;

export class ModelRun {
  readonly counts: ModelCounts = { writes: 0, reads: 0, syncs: 0, refused: 0, aborted: 0, unsyncedLooks: 0 };
  readonly #world: World;
  readonly #setting: ModelSetting;
  readonly #chance: Chance;
  readonly #files: ModelFile[];
  readonly #log: string[] = [];
  /** Memory that calls have given back, as it was then. */
  readonly #returned: { what: string; bytes: Uint8Array; copy: Uint8Array }[] = [];
  #writeCount = 0;
  #round = 0;

  constructor(world: World, setting: ModelSetting, chance: Chance) {
    this.#world = world;
    this.#setting = setting;
    this.#chance = chance;
    this.#files = Array.from({ length: setting.files }, (_, number) => ({
      number,
      model: new FileModel(),
      handles: [],
    }));
  }

  async run(): Promise<ModelCounts> {
    try {
      for (; this.#round < this.#setting.rounds; this.#round += 1) {
        await this.#playRound();
        await this.#look();
      }
      await this.#finish();
      return this.counts;
    } catch (error) {
      const history = this.#log.slice(-60).join('\n');
      throw new Error(`seed ${this.#world.turns.seed}, round ${this.#round}: ${error}\n${history}`, {
        cause: error,
      });
    }
  }

  async #playRound(): Promise<void> {
    for (const file of this.#files) {
      if (file.handles.length === 0) await this.#open(file);
    }
    const calls = this.#files.flatMap(file => {
      const step = file.model.next();
      const width = Math.floor(this.#chance() * (this.#setting.width + 1));
      return Array.from({ length: width }, () => this.#call(file, step, width));
    });
    await this.#world.turns.run(Promise.all(calls));
    for (const file of this.#files) if (file.model.step.isOpen) await this.#resolve(file);
    if (this.#chance() < 0.08) await this.#world.turns.pass(this.#below(9000));
    const file = this.#pick(this.#files);
    if (this.#chance() < 0.1) await this.#open(file);
    if (this.#chance() < 0.1) await this.#close(file);
  }

  async #open(file: ModelFile): Promise<void> {
    if (file.handles.length >= HANDLES_MAX) return;
    const mode = this.#pick(['plain', 'plain', 'plain', 'append', 'dsync'] as const);
    const opened = await this.#attempt(file, `open ${mode}`, () =>
      this.#world.turns.run(this.#world.open(file.number, mode)),
    );
    if (opened !== undefined) file.handles.push({ file: opened.value, mode });
    // A file cannot do without one for ever.
    else await this.#open(file);
  }

  async #close(file: ModelFile): Promise<void> {
    const [handle] = file.handles.splice(this.#below(file.handles.length), 1);
    if (handle === undefined) return;
    const step = file.model.next();
    const closed = await this.#attempt(file, 'close', () => this.#world.turns.run(handle.file.close()));
    if (closed !== undefined) file.model.synced(step);
  }

  /** One call, begun in this turn. */
  async #call(file: ModelFile, step: Step, width: number): Promise<void> {
    const { file: handle, mode } = this.#pick(file.handles);
    const chance = this.#chance();
    const signal = this.#chance() < this.#setting.abortShare ? this.#aborting() : undefined;
    const place = this.#below(this.#setting.sizeBytes);
    if (chance < 0.35) {
      await this.#read(file, step, handle, { place, signal });
    } else if (chance < 0.8) {
      this.#writeCount += 1;
      const change = this.#newWrite(file, mode, place);
      await this.#write(file, step, handle, { change, mode, width, signal });
    } else if (chance < 0.88) {
      const sizeBytes = this.#chance() < 0.7 ? this.#below(file.model.content.byteLength + 1) : place;
      const number = step.ask({ kind: 'truncate', sizeBytes });
      const done = await this.#attempt(file, `truncate to ${sizeBytes}`, () => handle.truncate(sizeBytes));
      if (done === undefined) this.#failed(step, number, mode);
    } else {
      const done = await this.#attempt(file, 'sync', () => handle.sync());
      if (done === undefined) return;
      this.counts.syncs += 1;
      file.model.synced(step);
    }
  }

  /** Looks which of the calls that failed have happened. */
  async #resolve(file: ModelFile): Promise<void> {
    let content: Uint8Array | undefined;
    while (content === undefined) content = await this.#readAll(file);
    this.#require(file, 'look', file.model.step.resolve(content));
  }

  /** Reads a file that nobody is changing. Returns undefined when it cannot be read now. */
  async #readAll(file: ModelFile): Promise<Uint8Array | undefined> {
    const handle = this.#pick(file.handles).file;
    const { sizeBytes, writeBytes } = this.#setting;
    const into = new Uint8Array(2 * (file.model.content.byteLength + sizeBytes) + 4 * writeBytes);
    // It may end early before bytes that cannot be read.
    for (let at = 0; ; ) {
      const part = into.subarray(at);
      const done = await this.#attempt(file, 'read all', () => this.#world.turns.run(handle.read(part, at)));
      if (done === undefined) return undefined;
      if (done.value === 0) return into.subarray(0, at);
      at += done.value;
    }
  }

  #newWrite(file: ModelFile, mode: OpenMode, place: number): WritingChange {
    const lengthBytes = this.#someLength();
    if (mode !== 'append') {
      const offsetBytes = this.#chance() < 0.4 ? place - (place % 4096) : place;
      return { kind: 'write', offsetBytes, bytes: patternOf(this.#writeCount, offsetBytes, lengthBytes) };
    }
    // Where it lands is known only when it has; so its sectors name the place where it was asked for.
    const end = file.model.content.byteLength;
    return { kind: 'append', bytes: patternOf(this.#writeCount, end, lengthBytes) };
  }

  /** Small lengths, whole pages and units, and large ones. */
  #someLength(): number {
    const chance = this.#chance();
    if (chance < 0.3) return 1 + this.#below(700);
    if (chance < 0.6) return 4096 * (1 + this.#below(4));
    return 1 + this.#below(this.#setting.writeBytes);
  }

  async #read(
    file: ModelFile,
    step: Step,
    handle: FileUnderTest,
    { place, signal }: { place: number; signal: AbortSignal | undefined },
  ): Promise<void> {
    const into = new Uint8Array(this.#someLength());
    const what = `read ${into.byteLength} at ${place}`;
    const done = await this.#attempt(file, what, () => handle.read(into, place, signal));
    // Whatever became of it, the memory is the caller's again.
    this.#returned.push({ what: `${this.#round}: ${what}`, bytes: into, copy: Uint8Array.from(into) });
    if (done === undefined) return;
    this.counts.reads += 1;
    // All changes of the step have been asked for by now, or cannot have been seen.
    const asked = this.#setting.canFail && done.value > 0 ? done.value : into.byteLength;
    this.#require(file, what, step.whyNotRead(place, asked, into.subarray(0, done.value)));
  }

  async #write(
    file: ModelFile,
    step: Step,
    handle: FileUnderTest,
    call: {
      readonly change: WritingChange;
      readonly mode: OpenMode;
      readonly width: number;
      readonly signal: AbortSignal | undefined;
    },
  ): Promise<void> {
    const { change, mode, width, signal } = call;
    const { bytes } = change;
    const offsetBytes = change.kind === 'write' ? change.offsetBytes : undefined;
    const number = step.ask(change);
    const what = `write ${this.#writeCount}: ${bytes.byteLength} at ${offsetBytes ?? 'the end'}`;
    // The caller's memory is its own again afterwards.
    const given = Uint8Array.from(bytes);
    const done = await this.#attempt(file, what, () => handle.write(given, offsetBytes, signal));
    given.fill(0xee);
    if (done === undefined) {
      this.#failed(step, number, mode);
      return;
    }
    step.settle(number, { ...change, bytes: bytes.subarray(0, done.value) });
    this.counts.writes += 1;
    if (done.value !== bytes.byteLength && !this.#setting.canFail && signal === undefined) {
      this.#require(file, what, `only ${done.value} bytes were written`);
    }
    if (mode === 'dsync' && width === 1 && signal === undefined && done.value === bytes.byteLength) {
      file.model.synced(file.model.next());
    }
  }

  /** A change has failed. On a synchronous file it may have happened, though it could not be committed. */
  #failed(step: Step, number: number, mode: OpenMode): void {
    if (mode === 'dsync') step.doubt(number);
    else step.settle(number, undefined);
  }

  /** Checks everything that is at rest, now and then. */
  async #look(): Promise<void> {
    for (const file of this.#files) {
      if (this.#chance() < 0.15) await this.#compareView(file);
      if (this.#chance() < 0.1) await this.#compareStore(file);
    }
  }

  async #compareView(file: ModelFile): Promise<void> {
    const content = file.handles.length === 0 ? undefined : await this.#readAll(file);
    if (content !== undefined) this.#require(file, 'read all', whyNotEqual(content, file.model.content));
  }

  async #compareStore(file: ModelFile): Promise<void> {
    if (file.model.isUnsynced) this.counts.unsyncedLooks += 1;
    this.#require(file, 'the store', file.model.whyNotStored(await this.#world.stored(file.number)));
  }

  /** Nothing fails any more: everything gets into the store. */
  async #finish(): Promise<void> {
    this.#world.heal();
    for (const file of this.#files) {
      if (file.handles.length === 0) await this.#open(file);
      for (const { file: handle } of file.handles) {
        // It may have to tell of an error that was there before.
        let done: object | undefined;
        for (let attempt = 0; attempt < 3 && done === undefined; attempt += 1) {
          done = await this.#attempt(file, 'the last sync', () => this.#world.turns.run(handle.sync()));
        }
        expect(done, 'the last sync').toBeDefined();
      }
      await this.#compareView(file);
      this.#require(
        file,
        'the store at last',
        whyNotEqual(await this.#world.stored(file.number), file.model.content),
      );
      for (const { file: handle } of file.handles.splice(0)) await this.#world.turns.run(handle.close());
    }
    await this.#world.end();
    for (const { what, bytes, copy } of this.#returned) {
      if (Buffer.compare(bytes, copy) !== 0) throw new Error(`${what}: the buffer was changed afterwards`);
    }
  }

  /** Returns undefined when the call failed as it may. */
  async #attempt<Value>(
    file: ModelFile,
    what: string,
    call: () => Promise<Value>,
  ): Promise<{ value: Value } | undefined> {
    const at = `${this.#round}: file ${file.number}: ${what}`;
    this.#log.push(`${at} begins`);
    try {
      const value = await call();
      this.#log.push(`${at} ends${typeof value === 'number' ? ` with ${value}` : ''}`);
      return { value };
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
      this.#log.push(`${at} fails: ${code}`);
      if (error === ABORTED) this.counts.aborted += 1;
      else if (this.#setting.canFail && MAY_FAIL_WITH.has(code)) this.counts.refused += 1;
      else throw error;
      return undefined;
    }
  }

  #aborting(): AbortSignal {
    const controller = new AbortController();
    if (this.#chance() < 0.1) {
      controller.abort(ABORTED);
    } else {
      // Handed over to the scheduler: it settles with the round, or a later one.
      void this.#world.turns.turn('abort').then(() => controller.abort(ABORTED));
    }
    return controller.signal;
  }

  #require(file: ModelFile, what: string, why: string | undefined): void {
    if (why !== undefined) throw new Error(`file ${file.number}, ${what}: ${why}`);
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

const ABORTED = new Error('aborted on purpose');

/** What a server may make a call fail with, as the store says it and as Node does. */
const MAY_FAIL_WITH: ReadonlySet<string> = new Set([
  'EUNAVAILABLE',
  'EUNCERTAIN',
  'EFULL',
  'ENOSPC',
  'EDENIED',
  'EACCES',
  'EIO',
  'EMISSING',
]);
