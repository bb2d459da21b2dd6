/** Clients of netfs on a scripted disk, where a seed decides when everything happens. */
import { toHex } from '../../src/base/bytes.ts';
import { sizeToUnitCount } from '../../src/base/geometry.ts';
import { Keyring } from '../../src/keys/keyring.ts';
import type { File } from '../../src/netfs/file.ts';
import { Netfs, type NetfsOpenOptions } from '../../src/netfs/netfs.ts';
import { BLOCK_BYTES } from '../../src/netfs/pages/page-memory.ts';
import { PlainPages } from '../../src/netfs/pages/plain-pages.ts';
import { openPipeline, type Pipeline } from '../../src/pipeline/pipeline.ts';
import { parseCodec } from '../../src/unit/codec.ts';
import { ScriptedDisk, type ScriptedReceipt, ScriptedServer } from './scripted-server.ts';
import { sharedPages } from './shared-pages-support.ts';
import { type FaultChooser, turnScript } from './turn-script.ts';
import { type TurnOptions, Turns } from './turns.ts';

export const UNIT_BYTES = 4096;
const PIPELINE_BYTES = 16 * 1024 * 1024;
const PAGE_BYTES = 4 * 1024 * 1024;

export interface TestDiskOptions extends TurnOptions {
  readonly unitSizeBytes?: number;
  /** Worker threads. Default 0. */
  readonly workers?: number;
}

export interface TestClientOptions {
  readonly fault?: FaultChooser;
  /** A segment is sent when it has so many bytes, or is pushed. */
  readonly segmentBytes?: number;
  /** Memory for pages: in shared memory, if a frame of 64 KiB fits. Default: 4 MiB. */
  readonly pageBytes?: number;
}

export interface TestClient {
  readonly server: ScriptedServer;
  readonly netfs: Netfs;
  /** Opens a file, without giving turns. */
  openFile(key: Uint8Array, options?: NetfsOpenOptions): Promise<File>;
  /** Opens a file. */
  open(key: Uint8Array, options?: NetfsOpenOptions): Promise<File>;
}

export class TestDisk {
  readonly turns: Turns;
  readonly disk: ScriptedDisk;
  readonly unitSizeBytes: number;
  readonly #pipeline: Pipeline;
  readonly #clients: TestClient[] = [];

  static async create(seed: number, options: TestDiskOptions = {}): Promise<TestDisk> {
    const { workers = 0, unitSizeBytes = UNIT_BYTES } = options;
    const pipeline = await openPipeline({ workers, memoryBytes: PIPELINE_BYTES });
    const turns = new Turns(seed, { hasThreads: workers > 0, ...options });
    return new TestDisk(turns, pipeline, unitSizeBytes);
  }

  private constructor(turns: Turns, pipeline: Pipeline, unitSizeBytes: number) {
    this.turns = turns;
    this.unitSizeBytes = unitSizeBytes;
    this.#pipeline = pipeline;
    this.disk = new ScriptedDisk({
      keys: pipeline.addKeyring(Keyring.create()),
      suite: 'xaes-256-gcm',
      codec: parseCodec('zstd:1'),
      padding: 'padme',
    });
  }

  /** Makes an empty file. Returns its key. */
  add(): Uint8Array {
    return this.disk.add(this.unitSizeBytes);
  }

  client(name: string, { fault, segmentBytes, pageBytes = PAGE_BYTES }: TestClientOptions = {}): TestClient {
    const server = new ScriptedServer(this.disk, {
      name,
      script: turnScript(this.turns, name, fault),
      ...(segmentBytes === undefined ? {} : { segmentBytes }),
    });
    const netfs = new Netfs({
      pipeline: this.#pipeline,
      pages:
        pageBytes < BLOCK_BYTES
          ? new PlainPages(pageBytes)
          : sharedPages(Math.floor(pageBytes / BLOCK_BYTES)),
      scheduler: this.turns,
      turnMs: Number.POSITIVE_INFINITY,
      isChecked: true,
    });
    const openFile: TestClient['openFile'] = (key, options) => netfs.openFile(server, key, options);
    const client: TestClient = {
      server,
      netfs,
      openFile,
      open: (key, options) => this.turns.run(openFile(key, options)),
    };
    this.#clients.push(client);
    return client;
  }

  /** What a file holds on the disk, read past netfs. */
  async stored(key: Uint8Array): Promise<Uint8Array> {
    const sizeBytes = this.disk.sizeOf(key);
    const content = new Uint8Array(sizeBytes);
    for (let index = 0; index < sizeToUnitCount(sizeBytes, this.unitSizeBytes); index += 1) {
      const plain = await this.#openUnit(key, index);
      const room = content.subarray(index * this.unitSizeBytes);
      if (plain.byteLength > room.byteLength) throw new Error(`unit ${index} of ${toHex(key)} is too long`);
      room.set(plain);
    }
    return content;
  }

  async #openUnit(key: Uint8Array, index: number): Promise<Uint8Array> {
    const receipt = this.disk.unit(key, index);
    return receipt === undefined ? new Uint8Array() : await this.openRecord(key, index, receipt);
  }

  /** Opens the record of a unit, wherever it lies. */
  async openRecord(key: Uint8Array, index: number, receipt: ScriptedReceipt): Promise<Uint8Array> {
    const { bytes } = receipt.record;
    const lease = await this.#pipeline.reserveSealed(bytes.byteLength);
    lease.bytes.set(bytes);
    const at = { objectId: key, kind: 'unit', index, unitSizeBytes: this.unitSizeBytes } as const;
    const unit = { ...at, offsetBytes: 0, lengthBytes: bytes.byteLength, expectedTag: receipt.tag };
    const batch = await this.#pipeline.open({ keys: this.disk.form.keys, from: lease, units: [unit] });
    try {
      const [opened] = batch.units;
      if (opened?.error !== undefined) throw opened.error;
      return opened === undefined ? new Uint8Array() : Uint8Array.from(opened.bytes);
    } finally {
      batch.release();
      lease.release();
    }
  }

  /** Closes all clients, and lists what they did against the agreement or did not give back. */
  async close(): Promise<string[]> {
    const problems: string[] = [];
    for (const { server, netfs } of this.#clients.splice(0)) {
      await this.turns.run(netfs.close());
      problems.push(...server.violations.map(violation => `${server.name}: ${violation}`));
      if (server.openCount !== 0) problems.push(`${server.name}: ${server.openCount} handles are open`);
    }
    for (const { name, usedBytes, waiterCount } of this.#pipeline.memory) {
      if (usedBytes > 0) problems.push(`${usedBytes} bytes of ${name} were not given back`);
      if (waiterCount > 0) problems.push(`${waiterCount} callers wait for ${name}`);
    }
    await this.#pipeline.close();
    return problems;
  }
}
