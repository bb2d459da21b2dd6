/** Our contender in contests about open files: a volume in a directory store with a local cache in front. */
import { rm } from 'node:fs/promises';
import type { Cache } from '../src/cache/cache.ts';
import { openCache } from '../src/cache/open.ts';
import type { File } from '../src/netfs/file.ts';
import { SEGMENT_PREFIX } from '../src/server/sealed/object-keys.ts';
import { PAGE_BYTES_DEFAULT } from '../src/volume/volume-options.ts';
import { type OpenVolume, VolumeSide, type VolumeSideSettings } from './volume-side.ts';

const MIB = 1024 * 1024;
const SLOTS = [{ label: 'bench', secret: { type: 'raw-key', key: new Uint8Array(32).fill(5) } }] as const;
const PATH = '/file';
const WARM_PATH = '/warm';

export interface CachedSideSettings extends VolumeSideSettings {
  /** How much the cache may hold. */
  readonly budgetBytes: number;
  /** Memory for pages. Default: the volume's. */
  readonly pageBytes?: number;
}

/** An open volume with its cache. Its pages are empty when it is opened. */
export interface CachedSession {
  /** Opens the one file. */
  file(flags: 'r' | 'w', unitSizeBytes?: number): Promise<File>;
  /** How many segments were fetched since it was opened. */
  readonly fetchedCount: number;
  /**
   * Uses all memory for pages once, as in a process that has been running for a while. Where memory is that of a
   * virtual machine, the first use of each page may take 20 us.
   */
  warm(): Promise<void>;
  close(): Promise<void>;
}

export class CachedSide {
  readonly #side: VolumeSide;
  readonly #cacheFolder: string;
  readonly #settings: CachedSideSettings;

  private constructor(side: VolumeSide, cacheFolder: string, settings: CachedSideSettings) {
    this.#side = side;
    this.#cacheFolder = cacheFolder;
    this.#settings = settings;
  }

  /** @param folder is there. */
  static async create(folder: string, settings: CachedSideSettings): Promise<CachedSide> {
    return new CachedSide(await VolumeSide.create(`${folder}/volume`, settings), `${folder}/cache`, settings);
  }

  /** Opens the volume as a process does that has just started: all that it knows is in store and cache. */
  async open(): Promise<CachedSession> {
    const { budgetBytes, pageBytes } = this.#settings;
    const cache: Cache = await openCache(
      this.#cacheFolder,
      { budgetBytes, disk: false, maintenanceMs: 0 },
      { key: { slots: SLOTS } },
    );
    const options = pageBytes === undefined ? { cache } : { cache, pageBytes };
    const opened: OpenVolume = await this.#side.open('client', options);
    return {
      file: (flags, unitSizeBytes) =>
        opened.volume.open(PATH, flags, 0o644, unitSizeBytes === undefined ? {} : { unitSizeBytes }),
      get fetchedCount() {
        return opened.requests.filter(
          ({ operation, key }) => operation === 'get' && key.startsWith(SEGMENT_PREFIX),
        ).length;
      },
      warm: async () => {
        const file = await opened.volume.open(WARM_PATH, 'w');
        const zeros = new Uint8Array(MIB);
        for (let at = 0; at < 2 * (pageBytes ?? PAGE_BYTES_DEFAULT); at += MIB)
          await file.write(zeros, { position: at });
        await file.close();
        await opened.volume.fs.unlink(WARM_PATH);
      },
      close: async () => {
        await opened.close();
        await cache.close();
      },
    };
  }

  /** Removes the cache. */
  async emptyCache(): Promise<void> {
    await rm(this.#cacheFolder, { recursive: true, force: true });
  }

  /** Removes the volume and the cache, and makes an empty volume. */
  async renew(): Promise<void> {
    await this.emptyCache();
    await rm(this.#side.store, { recursive: true });
    await rm(`${this.#side.state}-client`, { recursive: true, force: true });
    await this.#side.renew();
  }

  async stop(): Promise<void> {
    await this.#side.stop();
  }
}

/** Writes `data`, `repeats` times, a MiB at a time, and closes. */
export async function writeAll(
  session: CachedSession,
  data: Uint8Array,
  repeats: number,
  unitSizeBytes?: number,
): Promise<void> {
  const file = await session.file('w', unitSizeBytes);
  for (let repeat = 0, position = 0; repeat < repeats; repeat += 1) {
    for (let at = 0; at < data.byteLength; at += MIB) {
      const part = data.subarray(at, at + MIB);
      await file.write(part, { position });
      position += part.byteLength;
    }
  }
  await file.close();
}

/** Reads the file from front to back, a MiB at a time. Throws unless it is `data`, `repeats` times, if that is given. */
export async function readAll(session: CachedSession, data?: Uint8Array): Promise<void> {
  const file = await session.file('r');
  const into = Buffer.allocUnsafeSlow(MIB);
  for (let position = 0; position < file.sizeBytes; position += MIB) {
    const { bytesRead } = await file.read(into, { position });
    if (bytesRead !== Math.min(MIB, file.sizeBytes - position))
      throw new Error(`a short read at ${position}`);
    if (data === undefined) continue;
    const at = position % data.byteLength;
    if (Buffer.compare(into.subarray(0, bytesRead), data.subarray(at, at + bytesRead)) !== 0)
      throw new Error(`other bytes at ${position}`);
  }
  await file.close();
}

/** Reads the file until all of it is in the cache, and checks its bytes. Throws when it does not come to that. */
export async function fillCache(side: CachedSide, data: Uint8Array): Promise<void> {
  for (let tries = 0; tries < 5; tries += 1) {
    const session = await side.open();
    await readAll(session, data);
    const { fetchedCount } = session;
    await session.close();
    if (fetchedCount === 0) return;
  }
  throw new Error('the cache does not keep the whole file');
}
