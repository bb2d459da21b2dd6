/** The contract of `NetfsServer`: what every server of sealed files has to do. */
import { describe, expect, it } from 'vitest';
import type { ErrorCode } from '../../src/base/errors.ts';
import type { FileForm, NetfsServer, OpenedFile, Receipt } from '../../src/netfs/server.ts';
import type { Pipeline } from '../../src/pipeline/pipeline.ts';
import { mixedBytes, nextTurn, rejectionCode } from '../pipeline/support.ts';

export interface ServersUnderTest {
  readonly pipeline: Pipeline;
  readonly server: NetfsServer;
  /** Another client of the same files. */
  readonly other: NetfsServer;
  /** Makes an empty file with units of 4 KiB, and returns its key. Both clients can open it. */
  newFile(): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** The unit size of the files that the contract is tested with. */
export const UNIT_BYTES = 4096;

/** Returns the bytes of a unit. */
export function unitBytes(
  seed: number,
  index: number,
  lengthBytes: number = UNIT_BYTES,
): Uint8Array<ArrayBuffer> {
  return mixedBytes(lengthBytes, 1000 * seed + index);
}

/** A file that one client has opened. Its units hold the bytes that a seed and their index give. */
export class OpenFile<Handle = unknown> {
  readonly server: NetfsServer<Handle>;
  readonly pipeline: Pipeline;
  readonly handle: Handle;
  readonly form: FileForm;
  version: string;
  sizeBytes: number;

  static async open<Handle>(
    pipeline: Pipeline,
    server: NetfsServer<Handle>,
    key: Uint8Array,
  ): Promise<OpenFile<Handle>> {
    return new OpenFile(pipeline, server, await server.open(key, {}));
  }

  private constructor(
    pipeline: Pipeline,
    server: NetfsServer<Handle>,
    { handle, form, state }: OpenedFile<Handle>,
  ) {
    this.pipeline = pipeline;
    this.server = server;
    this.handle = handle;
    this.form = form;
    this.version = state.version;
    this.sizeBytes = state.sizeBytes;
  }

  /** Seals units, each of the bytes that `seed` and its index give. */
  async seal(
    indices: readonly number[],
    seed: number,
    lengthBytes: number = UNIT_BYTES,
  ): Promise<SealedUnit[]> {
    const { keys, objectId, unitSizeBytes, suite, codec, padding } = this.form;
    const from = await this.pipeline.reservePlain(indices.length * lengthBytes);
    const units = indices.map((index, at) => {
      from.bytes.set(unitBytes(seed, index, lengthBytes), at * lengthBytes);
      return {
        kind: 'unit',
        objectId,
        index,
        unitSizeBytes,
        offsetBytes: at * lengthBytes,
        lengthBytes,
      } as const;
    });
    const batch = await this.pipeline.seal({ keys, from, units, suite, codec, padding });
    const sealed = batch.units.map(({ bytes, tag }, at) => ({
      index: indices[at] ?? 0,
      bytes: bytes.slice(),
      tag,
    }));
    batch.release();
    from.release();
    return sealed;
  }

  /** Seals and writes units. Returns their receipts. */
  async place(indices: readonly number[], seed: number, lengthBytes: number = UNIT_BYTES): Promise<Receipts> {
    const units = await this.seal(indices, seed, lengthBytes);
    const { placed } = this.server.write({ handle: this.handle, units });
    return new Map((await placed).map((receipt, at) => [indices[at] ?? 0, receipt]));
  }

  async commit(
    receipts: ReadonlyMap<number, Receipt | undefined>,
    sizeBytes: number,
    options: { readonly cutBytes?: number; readonly ifVersion?: string; readonly signal?: AbortSignal } = {},
  ): Promise<void> {
    const state = await this.server.commit(this.handle, {
      cutBytes: Math.min(this.sizeBytes, sizeBytes),
      ifVersion: this.version,
      ...options,
      receipts,
      sizeBytes,
    });
    this.version = state.version;
    this.sizeBytes = state.sizeBytes;
  }

  /** Asks for the file as it is now. Returns whether its version is another. */
  async refresh(): Promise<boolean> {
    const { version, sizeBytes } = await this.server.state(this.handle, {});
    const isOther = version !== this.version;
    this.version = version;
    this.sizeBytes = sizeBytes;
    return isOther;
  }

  async locate(fromUnit: number, toUnit: number, version?: string): Promise<(Receipt | undefined)[]> {
    return await this.server.locate(this.handle, fromUnit, toUnit, { version });
  }

  /** Reads the records, and returns them one by one. Fails when one of them is not there. */
  async read(receipts: readonly Receipt[]): Promise<Uint8Array[]> {
    const into = new Uint8Array(receipts.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0));
    const { errors } = await this.server.read({ handle: this.handle, receipts, into });
    expect([...errors]).toEqual([]);
    let offsetBytes = 0;
    return receipts.map(({ lengthBytes }) => {
      offsetBytes += lengthBytes;
      return into.subarray(offsetBytes - lengthBytes, offsetBytes);
    });
  }

  /** Returns for each unit of [from, to) the seed that its bytes are of; undefined for a hole. */
  async seeds(fromUnit: number, toUnit: number): Promise<(number | undefined)[]> {
    const located = await this.locate(fromUnit, toUnit);
    const there = located.flatMap(receipt => (receipt === undefined ? [] : [receipt]));
    const records = await this.read(there);
    const seeds: (number | undefined)[] = [];
    for (const [at, receipt] of located.entries()) {
      const record = receipt === undefined ? undefined : records[there.indexOf(receipt)];
      seeds.push(record === undefined ? undefined : await this.#seedOf(fromUnit + at, record, receipt));
    }
    return seeds;
  }

  async #seedOf(
    index: number,
    record: Uint8Array,
    receipt: Receipt | undefined,
  ): Promise<number | undefined> {
    const { keys, objectId, unitSizeBytes } = this.form;
    const from = await this.pipeline.reserveSealed(record.byteLength);
    from.bytes.set(record);
    const place = { kind: 'unit', objectId, index, unitSizeBytes, offsetBytes: 0 } as const;
    const expectedTag = receipt?.tag;
    const unit = { ...place, lengthBytes: record.byteLength, ...(expectedTag && { expectedTag }) };
    const batch = await this.pipeline.open({ keys, from, units: [unit] });
    try {
      const [opened] = batch.units;
      if (opened?.error !== undefined) throw opened.error;
      const bytes = opened?.bytes ?? new Uint8Array();
      for (let seed = 0; seed < SEEDS; seed += 1) {
        if (Buffer.compare(bytes, unitBytes(seed, index, bytes.byteLength)) === 0) return seed;
      }
      return expect.fail(`unit ${index} has other bytes`);
    } finally {
      batch.release();
      from.release();
    }
  }
}

type Receipts = ReadonlyMap<number, Receipt>;

interface SealedUnit {
  readonly index: number;
  readonly bytes: Uint8Array;
  readonly tag: Uint8Array;
}

/** Tests use seeds below this. */
const SEEDS = 20;

export function describeServer(name: string, make: () => Promise<ServersUnderTest>): void {
  const contract = (title: string, body: (servers: ServersUnderTest) => Promise<void>): void => {
    it(title, async () => {
      const servers = await make();
      try {
        await body(servers);
      } finally {
        await servers.close();
      }
    });
  };
  /** Opens a new file in both clients. */
  const openBoth = async (servers: ServersUnderTest): Promise<[OpenFile, OpenFile]> => {
    const key = await servers.newFile();
    return [
      await OpenFile.open(servers.pipeline, servers.server, key),
      await OpenFile.open(servers.pipeline, servers.other, key),
    ];
  };

  describe(`${name}, held to the contract of netfs servers`, () => {
    contract('opens a file by its key, and none without', async servers => {
      const [mine, theirs] = await openBoth(servers);
      expect([mine.sizeBytes, mine.form.unitSizeBytes]).toEqual([0, UNIT_BYTES]);
      expect(mine.version).toBe(theirs.version);
      expect(await mine.locate(0, 3)).toEqual([undefined, undefined, undefined]);
      expect(await rejectionCode(servers.server.open(new Uint8Array(16).fill(9), {}))).toBe('EMISSING');
      await mine.server.close(mine.handle);
      await theirs.server.close(theirs.handle);
    });

    contract('what is placed can be read, and is seen by others with the commit', async servers => {
      const [mine, theirs] = await openBoth(servers);
      const units = await mine.seal([0, 2], 1);
      const writing = mine.server.write({ handle: mine.handle, units });
      const [first, second] = await writing.placed;
      expect((await mine.read([second!, first!])).map(record => Buffer.from(record))).toEqual([
        Buffer.from(units[1]!.bytes),
        Buffer.from(units[0]!.bytes),
      ]);
      expect(await theirs.refresh()).toBe(false);
      const before = mine.version;
      await mine.commit(
        new Map([
          [0, first],
          [2, second],
        ]),
        3 * UNIT_BYTES,
      );
      await writing.done;
      expect(mine.version).not.toBe(before);
      expect(await mine.seeds(0, 4)).toEqual([1, undefined, 1, undefined]);
      // What was told holds until the state is asked for.
      expect(await theirs.locate(0, 4)).toEqual([undefined, undefined, undefined, undefined]);
      expect(await theirs.refresh()).toBe(true);
      expect([theirs.version, theirs.sizeBytes]).toEqual([mine.version, 3 * UNIT_BYTES]);
      expect(await theirs.seeds(0, 4)).toEqual([1, undefined, 1, undefined]);
    });

    contract('pushed writes end without a commit', async servers => {
      const [mine] = await openBoth(servers);
      const first = mine.server.write({ handle: mine.handle, units: await mine.seal([0], 1) });
      await first.placed;
      const units = await mine.seal([1], 1);
      const second = mine.server.write({ handle: mine.handle, units });
      mine.server.push();
      await Promise.all([first.done, second.done]);
      // They are of no use to netfs afterwards, and memory is netfs's own again.
      for (const { bytes } of units) bytes.fill(0);
      const [receipt] = await second.placed;
      await mine.commit(new Map([[1, receipt]]), 2 * UNIT_BYTES);
      expect(await mine.seeds(0, 2)).toEqual([undefined, 1]);
    });

    contract('receipts of a tag name the same bytes, whoever asks', async servers => {
      const [mine, theirs] = await openBoth(servers);
      const receipts = await mine.place([0, 1], 1);
      await mine.commit(receipts, 2 * UNIT_BYTES);
      await theirs.refresh();
      for (const file of [mine, theirs]) {
        const located = await file.locate(0, 2);
        for (const [index, { tag, lengthBytes }] of receipts) {
          expect(Buffer.from(located[index]?.tag ?? [])).toEqual(Buffer.from(tag));
          expect(located[index]?.lengthBytes).toBe(lengthBytes);
          expect([located[index]?.origin, located[index]?.slice]).toEqual([undefined, undefined]);
        }
      }
    });

    contract('one record read twice in a call is there twice, also in shared memory', async servers => {
      const [mine] = await openBoth(servers);
      const [unit] = await mine.seal([5], 1);
      const [receipt] = await mine.server.write({ handle: mine.handle, units: [unit!] }).placed;
      await mine.commit(new Map([[5, receipt]]), 6 * UNIT_BYTES);
      const length = receipt!.lengthBytes;
      const into = new Uint8Array(new SharedArrayBuffer(2 * length + 1)).subarray(1);
      await mine.server.read({ handle: mine.handle, receipts: [receipt!, receipt!], into });
      for (const half of [into.subarray(0, length), into.subarray(length)]) {
        expect(Buffer.compare(half, unit!.bytes)).toBe(0);
      }
      expect(await rejectionCode(mine.server.read({ handle: mine.handle, receipts: [receipt!], into }))).toBe(
        'EINVAL',
      );
    });

    contract('of two commits on one version the second is refused, and changes nothing', async servers => {
      const [mine, theirs] = await openBoth(servers);
      await mine.commit(await mine.place([0], 1), UNIT_BYTES);
      await theirs.refresh();
      const refused = await theirs.place([0, 1], 2);
      await mine.commit(await mine.place([1], 3), 2 * UNIT_BYTES);
      expect(await rejectionCode(theirs.commit(refused, 2 * UNIT_BYTES))).toBe('ECONFLICT');
      expect(await mine.refresh()).toBe(false);
      // Its receipts are still good.
      expect(await theirs.refresh()).toBe(true);
      expect(await theirs.seeds(0, 2)).toEqual([1, 3]);
      await theirs.commit(new Map([[0, refused.get(0)]]), 2 * UNIT_BYTES);
      await mine.refresh();
      expect(await mine.seeds(0, 2)).toEqual([2, 3]);
    });

    contract('the version that a client stands on can be located beside the newer one', async servers => {
      const [mine, theirs] = await openBoth(servers);
      await mine.commit(await mine.place([0], 1), UNIT_BYTES);
      await theirs.refresh();
      const old = theirs.version;
      const [oldReceipt] = await theirs.locate(0, 1);
      for (const seed of [2, 3]) {
        await mine.commit(await mine.place([0, 1], seed), 2 * UNIT_BYTES);
        // However many newer ones it is told.
        await theirs.server.state(theirs.handle, { standsOn: old });
        const [first, second] = await theirs.locate(0, 2, old);
        expect([first?.tag, second]).toEqual([oldReceipt?.tag, undefined]);
      }
      expect(await theirs.seeds(0, 2)).toEqual([3, 3]);
      await theirs.server.state(theirs.handle, { standsOn: mine.version });
      expect(await rejectionCode(theirs.locate(0, 2, old))).toBe('ECONFLICT');
      expect(await theirs.seeds(0, 2)).toEqual([3, 3]);
    });

    contract('a commit that is sent again has happened once', async servers => {
      const [mine, theirs] = await openBoth(servers);
      const receipts = await mine.place([0, 1], 1);
      const before = { ifVersion: mine.version, cutBytes: 0 };
      await mine.commit(receipts, 2 * UNIT_BYTES, before);
      const { version } = mine;
      await mine.commit(receipts, 2 * UNIT_BYTES, before);
      expect(mine.version).toBe(version);
      // Another client has changed the file since: then it is no repetition any more.
      await theirs.refresh();
      await theirs.commit(new Map([[1, undefined]]), 2 * UNIT_BYTES);
      expect(await rejectionCode(mine.commit(receipts, 2 * UNIT_BYTES, before))).toBe('ECONFLICT');
      await mine.refresh();
      expect(await mine.seeds(0, 2)).toEqual([1, undefined]);
    });

    contract('S7: what is cut off never comes back, however the file grows', async servers => {
      const [mine, theirs] = await openBoth(servers);
      await mine.commit(await mine.place([0, 1, 2, 3], 1), 4 * UNIT_BYTES);
      // Down to one unit and back again, with a new unit on the way.
      const grown = await mine.place([3], 2);
      await mine.commit(grown, 5 * UNIT_BYTES, { cutBytes: UNIT_BYTES });
      await theirs.refresh();
      for (const file of [mine, theirs]) {
        expect(file.sizeBytes).toBe(5 * UNIT_BYTES);
        expect(await file.seeds(0, 5)).toEqual([1, undefined, undefined, 2, undefined]);
      }
      await mine.commit(new Map(), 0);
      await mine.commit(new Map(), 5 * UNIT_BYTES);
      expect(await mine.locate(0, 5)).toEqual(Array.from({ length: 5 }, () => undefined));
    });

    contract('a unit that is cut in two needs a new record', async servers => {
      const [mine] = await openBoth(servers);
      await mine.commit(await mine.place([0, 1], 1), 2 * UNIT_BYTES);
      const { version } = mine;
      const middle = UNIT_BYTES + 100;
      expect(await rejectionCode(mine.commit(new Map(), middle))).toBe('EINVAL');
      await mine.refresh();
      expect([mine.version, mine.sizeBytes]).toEqual([version, 2 * UNIT_BYTES]);
      await mine.commit(await mine.place([1], 3, 100), middle);
      expect(await mine.seeds(0, 2)).toEqual([1, 3]);
      // Nothing is cut where the size is the end.
      await mine.commit(new Map(), 4 * UNIT_BYTES);
      // A hole needs none.
      await mine.commit(new Map(), 2 * UNIT_BYTES + 7);
      expect(await mine.seeds(0, 3)).toEqual([1, 3, undefined]);
    });

    contract('commits that make no sense are refused', async servers => {
      const [mine] = await openBoth(servers);
      const receipts = await mine.place([0, 1], 1);
      expect(await rejectionCode(mine.commit(receipts, UNIT_BYTES))).toBe('EINVAL');
      expect(await rejectionCode(mine.commit(receipts, 2 * UNIT_BYTES, { cutBytes: 1 }))).toBe('EINVAL');
      expect(await rejectionCode(mine.commit(new Map(), 10, { cutBytes: 11 }))).toBe('EINVAL');
      const foreign = { tag: new Uint8Array(16), lengthBytes: 100 };
      expect(await rejectionCode(mine.commit(new Map([[0, foreign]]), 100))).toBe('EINVAL');
      await mine.commit(receipts, 2 * UNIT_BYTES);
      expect(await mine.seeds(0, 2)).toEqual([1, 1]);
    });

    contract(
      'receipts may be committed anywhere that they were sealed for, as often as one likes',
      async servers => {
        const [mine] = await openBoth(servers);
        const older = await mine.place([0], 1);
        const newer = await mine.place([0], 2);
        await mine.commit(newer, UNIT_BYTES);
        await mine.commit(older, UNIT_BYTES);
        expect(await mine.seeds(0, 1)).toEqual([1]);
        await mine.commit(newer, UNIT_BYTES);
        expect(await mine.seeds(0, 1)).toEqual([2]);
      },
    );

    contract('files of many units, far apart', async servers => {
      const [mine, theirs] = await openBoth(servers);
      const many = Array.from({ length: 300 }, (_, at) => at);
      await mine.commit(await mine.place(many, 1), 300 * UNIT_BYTES);
      const far = 3_000_000;
      await mine.commit(await mine.place([far], 2), (far + 1) * UNIT_BYTES);
      await theirs.refresh();
      expect(await theirs.seeds(299, 301)).toEqual([1, undefined]);
      expect(await theirs.seeds(far - 1, far + 2)).toEqual([undefined, 2, undefined]);
      expect((await theirs.locate(0, 300)).filter(receipt => receipt !== undefined)).toHaveLength(300);
    });

    contract('an aborted call rejects with the reason', async servers => {
      const [mine] = await openBoth(servers);
      const receipts = await mine.place([0], 1);
      await mine.commit(receipts, UNIT_BYTES);
      const reason = new Error('enough');
      const signal = AbortSignal.abort(reason);
      const { server, handle } = mine;
      const [receipt] = receipts.values();
      const into = new Uint8Array(receipt!.lengthBytes);
      await expect(server.state(handle, { signal })).rejects.toBe(reason);
      await expect(server.locate(handle, 0, 1, { signal })).rejects.toBe(reason);
      await expect(server.read({ handle, receipts: [receipt!], into, signal })).rejects.toBe(reason);
      const writing = server.write({ handle, units: await mine.seal([0], 2), signal });
      await expect(writing.placed).rejects.toBe(reason);
      await expect(writing.done).rejects.toBe(reason);
      await expect(mine.commit(receipts, UNIT_BYTES, { signal })).rejects.toBe(reason);
      expect(await mine.seeds(0, 1)).toEqual([1]);
    });

    contract('an abort at any moment leaves memory that nobody uses', async servers => {
      const [mine] = await openBoth(servers);
      const receipts = await mine.place([0, 1, 2], 1);
      await mine.commit(receipts, 3 * UNIT_BYTES);
      const { server, handle } = mine;
      const all = [...receipts.values()];
      const lengthBytes = all.reduce((sum, receipt) => sum + receipt.lengthBytes, 0);
      for (let round = 0; round < 12; round += 1) {
        const stop = new AbortController();
        const into = new Uint8Array(lengthBytes);
        const reading = server.read({ handle, receipts: all, into, signal: stop.signal }).then(
          () => 'done',
          error => error,
        );
        for (let turn = 0; turn < round; turn += 1) await (round % 2 === 0 ? nextTurn() : Promise.resolve());
        stop.abort(new Error('enough'));
        await reading;
        into.fill(7);
        await nextTurn();
        expect(into.every(byte => byte === 7)).toBe(true);
      }
    });

    contract('many clients at once: every commit is on the version that it says', async servers => {
      const key = await servers.newFile();
      const clients = await Promise.all(
        [servers.server, servers.other, servers.server, servers.other].map(server =>
          OpenFile.open(servers.pipeline, server, key),
        ),
      );
      const codes: ErrorCode[] = [];
      await Promise.all(
        clients.map(async (client, at) => {
          for (let round = 0; round < 5; round += 1) {
            const index = 5 * at + round;
            const receipts = await client.place([index], at);
            for (;;) {
              const sizeBytes = Math.max(client.sizeBytes, (index + 1) * UNIT_BYTES);
              const code = await client.commit(receipts, sizeBytes).then(
                () => undefined,
                error => error.code,
              );
              if (code === undefined) break;
              codes.push(code);
              await client.refresh();
            }
          }
        }),
      );
      expect(codes.every(code => code === 'ECONFLICT')).toBe(true);
      await clients[0]!.refresh();
      expect(await clients[0]!.seeds(0, 20)).toEqual(
        Array.from({ length: 20 }, (_, at) => Math.floor(at / 5)),
      );
    });
  });
}
