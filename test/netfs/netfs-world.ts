/** Files of netfs on a scripted disk, as the model drives them. */
import type { Chance } from '../../src/base/chance.ts';
import type { File } from '../../src/netfs/file.ts';
import type { FileUnderTest, OpenMode, World } from './model-run.ts';
import type { ScriptedOperation } from './scripted-server.ts';
import { ScriptedUnits } from './scripted-units.ts';
import { type TestClient, TestDisk, type TestDiskOptions } from './test-disk.ts';
import type { TurnFault } from './turn-script.ts';
import type { Turns } from './turns.ts';

export interface WorldSetting extends TestDiskOptions {
  readonly files: number;
  /** How likely a call fails. */
  readonly faultShare: number;
  readonly pageBytes?: number;
  readonly segmentBytes?: number;
  /** How likely the local cache fails, or has lost or damaged a unit. Default: there is none. */
  readonly cacheFaultShare?: number;
}

const FAULTS: readonly TurnFault[] = ['refused', 'refused', 'full', 'lost', 'dropped'];
/** What the model can be told of: an open that fails is simply tried again. */
const FALLIBLE: readonly ScriptedOperation[] = ['state', 'locate', 'read', 'place', 'upload', 'commit'];

/** A cache that is slow, and fails, forgets and damages now and then. */
function faultyUnits(turns: Turns, chance: Chance, faultShare: number): ScriptedUnits {
  const units = new ScriptedUnits();
  units.script = ({ operation }) => {
    const isFault = chance() < faultShare;
    for (const [place, bytes] of isFault ? [...units.units] : []) {
      const fate = chance();
      if (fate < 0.3) units.units.delete(place);
      else if (fate < 0.5) bytes[60] = (bytes[60] ?? 0) ^ 1;
    }
    const before = operation === 'has' ? {} : { before: turns.turn(`cache ${operation}`) };
    if (!isFault || chance() < 0.5) return before;
    return { ...before, error: new Error('the cache fails on purpose') };
  };
  return units;
}

export class NetfsWorld implements World {
  readonly #test: TestDisk;
  readonly #client: TestClient;
  readonly #keys: readonly Uint8Array[];
  readonly #cache: ScriptedUnits | undefined;
  #isHealed = false;
  #faultCount = 0;

  static async create(seed: number, chance: Chance, setting: WorldSetting): Promise<NetfsWorld> {
    return new NetfsWorld(await TestDisk.create(seed, setting), chance, setting);
  }

  private constructor(test: TestDisk, chance: Chance, setting: WorldSetting) {
    const { files, faultShare, pageBytes, segmentBytes, cacheFaultShare } = setting;
    this.#cache =
      cacheFaultShare === undefined ? undefined : faultyUnits(test.turns, chance, cacheFaultShare);
    this.#test = test;
    this.#client = test.client('a', {
      ...(pageBytes === undefined ? {} : { pageBytes }),
      ...(segmentBytes === undefined ? {} : { segmentBytes }),
      fault: ({ operation }) => {
        if (this.#isHealed || !FALLIBLE.includes(operation) || chance() >= faultShare) return undefined;
        this.#faultCount += 1;
        return FAULTS[Math.floor(chance() * FAULTS.length)];
      },
    });
    this.#keys = Array.from({ length: files }, () => test.add());
  }

  get turns(): Turns {
    return this.#test.turns;
  }

  /** How many calls to the server were made to fail. */
  get faultCount(): number {
    return this.#faultCount;
  }

  async open(file: number, mode: OpenMode): Promise<FileUnderTest> {
    const options = { isAppending: mode === 'append', isSynchronous: mode === 'dsync', cache: this.#cache };
    return underTest(await this.#client.openFile(this.#keyOf(file), options));
  }

  stored(file: number): Promise<Uint8Array> {
    return this.#test.stored(this.#keyOf(file));
  }

  heal(): void {
    this.#isHealed = true;
  }

  async end(): Promise<void> {
    const problems = [...(await this.#test.close()), ...(this.#cache?.violations ?? [])];
    if (problems.length > 0) throw new Error(problems.join('; '));
  }

  #keyOf(file: number): Uint8Array {
    const key = this.#keys[file];
    if (key === undefined) throw new Error(`there is no file ${file}`);
    return key;
  }
}

/** Every other call tries first to get by without a promise. */
function underTest(file: File): FileUnderTest {
  return {
    read: async (into, position, signal) => {
      const now = position % 2 === 0 && signal === undefined ? file.tryRead(into, position) : undefined;
      return now ?? (await file.read(into, { position, signal })).bytesRead;
    },
    write: async (bytes, position, signal) => {
      const isTried = position !== undefined && position % 2 === 0 && signal === undefined;
      const now = isTried ? file.tryWrite(bytes, position) : undefined;
      if (now === undefined || position === undefined) {
        return (await file.write(bytes, { position, signal })).bytesWritten;
      }
      if (now === bytes.byteLength) return now;
      // Memory was short. The rest is a call of its own, which may fail.
      return await file.write(bytes.subarray(now), { position: position + now }).then(
        ({ bytesWritten }) => now + bytesWritten,
        () => now,
      );
    },
    truncate: sizeBytes => file.truncate(sizeBytes),
    sync: () => file.sync(),
    close: () => file.close(),
  };
}
