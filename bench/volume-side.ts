/** Our contender in contests about volumes: a volume in a metered directory store, opened as the CLI does. */
import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { createVolumeHeader } from '../src/keys/unlock.ts';
import { openPipeline, type Pipeline } from '../src/pipeline/pipeline.ts';
import { DirectoryStore } from '../src/server/directory-store.ts';
import { type MeterEvent, StoreMeter } from '../src/server/meter.ts';
import type { Attributes } from '../src/server/sealed/inode.ts';
import { wrapStore } from '../src/server/wrap.ts';
import { get } from '../src/transfer/get.ts';
import { put } from '../src/transfer/put.ts';
import { Tally } from '../src/transfer/tally.ts';
import { createHeaderObject, unlockHeaderObject } from '../src/volume/header-object.ts';
import { createRoot } from '../src/volume/root.ts';
import { checkVolumeSettings, encodeSettings } from '../src/volume/session/volume-settings.ts';
import { openStateFolder } from '../src/volume/state/state-folder.ts';
import { Volume } from '../src/volume/volume.ts';
import type { OpenVolumeOptions } from '../src/volume/volume-options.ts';

/** The limit of the command line (`src/cli/volume/location.ts`). */
const REQUESTS_AT_ONCE = 32;

export const FOLDER_ATTRIBUTES: Attributes = { mode: 0o755, uid: 0, gid: 0, mtimeNs: 5n, xattrs: [] };
export const FILE_ATTRIBUTES: Attributes = { ...FOLDER_ATTRIBUTES, mode: 0o644 };

/** An open volume whose requests are counted. */
export interface OpenVolume {
  readonly volume: Volume;
  readonly meter: StoreMeter;
  /** Every request since the volume was opened, the header's included. */
  readonly requests: readonly MeterEvent[];
  /** Copies in as `netseal put -r` does, and syncs. Throws when anything failed. */
  put(source: string, path: string): Promise<void>;
  /** Copies out as `netseal get -r` does. */
  get(path: string, target: string): Promise<void>;
  close(): Promise<void>;
}

export interface VolumeSideSettings {
  /** The pipeline's memory. Default: the pipeline's own. */
  readonly memoryBytes?: number;
}

/** A volume, its key file and its client's state, in a folder. */
export class VolumeSide {
  readonly folder: string;
  readonly #pipeline: Pipeline;
  readonly #key: Uint8Array = randomBytes(32);

  private constructor(folder: string, pipeline: Pipeline) {
    this.folder = folder;
    this.#pipeline = pipeline;
  }

  /** @param folder is created. */
  static async create(folder: string, { memoryBytes }: VolumeSideSettings = {}): Promise<VolumeSide> {
    const memory = memoryBytes === undefined ? {} : { memoryBytes };
    const side = new VolumeSide(folder, await openPipeline({ workers: 2, ...memory }));
    await mkdir(folder);
    await writeFile(side.keyFile, side.#key, { mode: 0o600 });
    await side.renew();
    return side;
  }

  get store(): string {
    return `${this.folder}/store`;
  }

  get keyFile(): string {
    return `${this.folder}/key`;
  }

  get state(): string {
    return `${this.folder}/state`;
  }

  /** Makes an empty volume; there must be none. */
  async renew(): Promise<void> {
    const store = await DirectoryStore.open(this.store, { create: true });
    const header = await createVolumeHeader({
      slots: [{ label: 'bench', secret: { type: 'key-file', contents: this.#key } }],
      settings: encodeSettings(checkVolumeSettings({})),
    });
    await createRoot(store, header, FOLDER_ATTRIBUTES);
    await createHeaderObject(store, header);
    header.keyring.destroy();
    await store.close();
  }

  /** Opens the volume as the client `name`. A new client has nothing cached and remembers nothing. */
  async open(
    name = 'client',
    options: Pick<OpenVolumeOptions, 'cache' | 'pageBytes'> = {},
  ): Promise<OpenVolume> {
    const requests: MeterEvent[] = [];
    const meter = new StoreMeter(event => requests.push(event));
    const store = wrapStore(
      await DirectoryStore.open(this.store),
      { retry: {}, limit: { concurrency: REQUESTS_AT_ONCE } },
      { meter },
    );
    const state = await openStateFolder(`${this.state}-${name}`, this.store);
    const header = await unlockHeaderObject(store, { type: 'key-file', contents: this.#key }, state);
    const volume = await Volume.open({ ...options, store, pipeline: this.#pipeline, header, state });
    return {
      volume,
      meter,
      requests,
      put: async (source, path) => {
        const tally = new Tally();
        await put(volume, [source], path, tally, { recursive: true, state });
        await volume.sync();
        requireNoFailure(tally);
      },
      get: async (path, target) => {
        const tally = new Tally();
        await get(volume, [path], target, tally, { recursive: true });
        requireNoFailure(tally);
      },
      close: async () => {
        await volume.close();
        header.keyring.destroy();
        await state.close();
        await store.close();
      },
    };
  }

  /** Arguments that let the command line open the volume. */
  get cliArguments(): string[] {
    return ['--key-file', this.keyFile, '--state', `${this.state}-cli`];
  }

  async stop(): Promise<void> {
    await this.#pipeline.close();
  }
}

function requireNoFailure({ failures, notes }: Tally): void {
  const [first] = [...failures, ...notes];
  if (first !== undefined) throw new Error(`${first.path}: ${first.error.message}`);
}
