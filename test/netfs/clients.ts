/** Clients of a scripted disk, each with a netfs of its own, for the tests of netfs. */
import { expect, onTestFinished } from 'vitest';
import { KIB, MIB } from '../../src/base/geometry.ts';
import { randomBytes } from '../../src/base/random.ts';
import type { Scheduler } from '../../src/base/scheduler.ts';
import { createVolumeHeader } from '../../src/keys/unlock.ts';
import type { File } from '../../src/netfs/file.ts';
import { Netfs, type NetfsOpenOptions } from '../../src/netfs/netfs.ts';
import { BLOCK_BYTES } from '../../src/netfs/pages/page-memory.ts';
import type { PageCache } from '../../src/netfs/pages/pages.ts';
import { PlainPages } from '../../src/netfs/pages/plain-pages.ts';
import type { StreamDropped } from '../../src/netfs/streams.ts';
import { openPipeline, type Pipeline } from '../../src/pipeline/pipeline.ts';
import { CODEC_DEFAULT } from '../../src/unit/codec.ts';
import { type DiskForm, ScriptedDisk, type ScriptedOptions, ScriptedServer } from './scripted-server.ts';
import { sharedPages } from './shared-pages-support.ts';

/** The unit of most tests: four pages. */
export const UNIT_BYTES: number = 16 * KIB;

/** A clock that a test moves. */
export class HandClock implements Scheduler {
  #nowMs = 1_000_000;
  readonly #sleepers = new Set<{ readonly atMs: number; readonly wake: () => void }>();

  now(): number {
    return this.#nowMs;
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const sleeper = {
        atMs: this.#nowMs + delayMs,
        wake: (): void => {
          this.#sleepers.delete(sleeper);
          signal?.removeEventListener('abort', onAbort);
          resolve();
        },
      };
      const onAbort = (): void => {
        this.#sleepers.delete(sleeper);
        reject(signal?.reason);
      };
      this.#sleepers.add(sleeper);
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** Lets time pass, and wakes who has slept long enough. */
  pass(delayMs: number): void {
    this.#nowMs += delayMs;
    for (const sleeper of this.#sleepers) if (sleeper.atMs <= this.#nowMs) sleeper.wake();
  }
}

const pipelines = new Map<number, Promise<{ readonly pipeline: Pipeline; readonly form: DiskForm }>>();

/** A pipeline for all tests of one file, and how their disks are sealed. */
export function sharedPipeline(
  memoryBytes: number = 8 * MIB,
): Promise<{ readonly pipeline: Pipeline; readonly form: DiskForm }> {
  const known = pipelines.get(memoryBytes);
  if (known !== undefined) return known;
  const opening = (async () => {
    const pipeline = await openPipeline({ workers: 0, memoryBytes });
    const secret = { type: 'raw-key', key: randomBytes(32) } as const;
    const { keyring } = await createVolumeHeader({ slots: [{ label: 'test', secret }] });
    const keys = pipeline.addKeyring(keyring);
    const form = { keys, suite: 'xaes-256-gcm', codec: CODEC_DEFAULT, padding: 'none' } as const;
    return { pipeline, form };
  })();
  pipelines.set(memoryBytes, opening);
  return opening;
}

export interface ClientOptions extends ScriptedOptions {
  /** A multiple of 64 KiB: in shared memory. Less: in plain arrays. */
  readonly pageBytes?: number;
  /** How long the version of a file is believed. */
  readonly freshMs?: number;
  /** Memory for the records of a file's changes. */
  readonly recordBytes?: number;
  /** Default: calls that are answered at once never wait for others. */
  readonly turnMs?: number;
}

/** One client of a disk. */
export class Client {
  readonly server: ScriptedServer;
  readonly netfs: Netfs;
  readonly pages: PageCache;
  /** Streams that files have done without. */
  readonly dropped: StreamDropped[] = [];

  constructor(pipeline: Pipeline, disk: ScriptedDisk, clock: Scheduler, options: ClientOptions) {
    const { pageBytes = MIB, freshMs = 1000, recordBytes = MIB, turnMs = Number.POSITIVE_INFINITY } = options;
    this.server = new ScriptedServer(disk, options);
    this.pages = pageBytes < BLOCK_BYTES ? new PlainPages(pageBytes) : sharedPages(pageBytes / BLOCK_BYTES);
    this.netfs = new Netfs({
      pipeline,
      pages: this.pages,
      scheduler: clock,
      freshMs,
      turnMs,
      recordBytes,
      isChecked: true,
      onStreamDropped: event => {
        this.dropped.push(event);
      },
    });
  }

  open(key: Uint8Array, options?: NetfsOpenOptions): Promise<File> {
    return this.netfs.openFile(this.server, key, options);
  }

  /** How often the server was asked for something. */
  count(operation: string): number {
    return this.server.calls.filter(call => call.operation === operation).length;
  }
}

/** A disk with clients. All are closed, and held to their agreements, when the test ends. */
export class Disk {
  readonly disk: ScriptedDisk;
  readonly clock: HandClock = new HandClock();
  readonly #pipeline: Pipeline;
  readonly #clients: Client[] = [];

  /** @param memoryBytes of the pipeline. */
  static async make(memoryBytes?: number): Promise<Disk> {
    const { pipeline, form } = await sharedPipeline(memoryBytes);
    const disk = new Disk(pipeline, new ScriptedDisk(form));
    onTestFinished(() => disk.#close());
    return disk;
  }

  private constructor(pipeline: Pipeline, disk: ScriptedDisk) {
    this.#pipeline = pipeline;
    this.disk = disk;
  }

  add(unitSizeBytes: number = UNIT_BYTES): Uint8Array {
    return this.disk.add(unitSizeBytes);
  }

  client(options: ClientOptions = {}): Client {
    const client = new Client(this.#pipeline, this.disk, this.clock, options);
    this.#clients.push(client);
    return client;
  }

  /** Returns what somebody sees who was not here before. */
  async content(key: Uint8Array): Promise<Uint8Array> {
    const client = new Client(this.#pipeline, this.disk, this.clock, {});
    const file = await client.open(key);
    const bytes = await readAll(file);
    await client.netfs.close();
    return bytes;
  }

  async #close(): Promise<void> {
    for (const { netfs, server, pages } of this.#clients) {
      server.script = () => undefined;
      await netfs.close({ discard: true });
      await server[Symbol.asyncDispose]();
      expect(server.violations).toEqual([]);
      expect(server.openCount).toBe(0);
      expect(pages.use.usedBytes).toBe(0);
    }
    for (const { name, usedBytes } of this.#pipeline.memory)
      expect({ name, usedBytes }).toEqual({ name, usedBytes: 0 });
  }
}

export async function readAll(file: File): Promise<Uint8Array> {
  const buffer = new Uint8Array(file.sizeBytes + 100);
  const { bytesRead } = await file.read(buffer, { position: 0 });
  return buffer.subarray(0, bytesRead);
}

/** Returns `before` with `bytes` written at `offsetBytes`. */
export function overlaid(before: Uint8Array, offsetBytes: number, bytes: Uint8Array): Uint8Array {
  const after = new Uint8Array(Math.max(before.byteLength, offsetBytes + bytes.byteLength));
  after.set(before);
  after.set(bytes, offsetBytes);
  return after;
}

/** Compares without showing all bytes of a difference. */
export function expectSame(actual: Uint8Array, expected: Uint8Array): void {
  expect(actual.byteLength).toBe(expected.byteLength);
  const at = actual.findIndex((byte, index) => byte !== expected[index]);
  expect(at === -1 ? 'the same' : `byte ${at} is ${actual[at]}, not ${expected[at]}`).toBe('the same');
}
