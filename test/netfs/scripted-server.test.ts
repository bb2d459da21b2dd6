import { expect, it } from 'vitest';
import { NetsealError } from '../../src/base/errors.ts';
import { randomBytes } from '../../src/base/random.ts';
import { createVolumeHeader } from '../../src/keys/unlock.ts';
import { openPipeline, type Pipeline } from '../../src/pipeline/pipeline.ts';
import { CODEC_DEFAULT } from '../../src/unit/codec.ts';
import { nextTurn, rejectionCode } from '../pipeline/support.ts';
import { answerLost, ScriptedDisk, ScriptedServer } from './scripted-server.ts';
import { describeServer, type ServersUnderTest } from './server-contract.ts';

let shared: Promise<{ pipeline: Pipeline; disk: () => ScriptedDisk }> | undefined;

function parts(): Promise<{ pipeline: Pipeline; disk: () => ScriptedDisk }> {
  shared ??= (async () => {
    const pipeline = await openPipeline({ workers: 0, memoryBytes: 16 * 1024 * 1024 });
    const secret = { type: 'raw-key', key: randomBytes(32) } as const;
    const { keyring } = await createVolumeHeader({ slots: [{ label: 'test', secret }] });
    const keys = pipeline.addKeyring(keyring);
    const form = { keys, suite: 'xaes-256-gcm', codec: CODEC_DEFAULT, padding: 'padme' } as const;
    return { pipeline, disk: () => new ScriptedDisk(form) };
  })();
  return shared;
}

async function servers(): Promise<ServersUnderTest> {
  const { pipeline, disk: newDisk } = await parts();
  const disk = newDisk();
  const server = new ScriptedServer(disk);
  const other = new ScriptedServer(disk, { name: 'other' });
  return {
    pipeline,
    server,
    other,
    newFile: async () => disk.add(4096),
    close: async () => {
      expect([...server.violations, ...other.violations]).toEqual([]);
      await server[Symbol.asyncDispose]();
      await other[Symbol.asyncDispose]();
    },
  };
}

describeServer('the scripted server', servers);

/** A unit that is no record: this server does not look into records. */
function unit(index: number): { index: number; bytes: Uint8Array; tag: Uint8Array } {
  return { index, bytes: randomBytes(100), tag: randomBytes(16) };
}

it('a script makes calls fail, wait and lose their answers', async () => {
  const disk = (await parts()).disk();
  const key = disk.add(4096);
  const gate = Promise.withResolvers<void>();
  const server = new ScriptedServer(disk, {
    script: ({ operation, number }) => {
      if (operation === 'state') return { before: gate.promise };
      if (operation !== 'commit') return undefined;
      return number === 1
        ? { error: new NetsealError('EFULL', 'no room') }
        : number === 2
          ? answerLost()
          : {};
    },
  });
  const { handle, state } = await server.open(key, {});
  const [receipt] = await server.write({ handle, units: [unit(0)] }).placed;
  const sub = { receipts: new Map([[0, receipt]]), sizeBytes: 10, cutBytes: 0, ifVersion: state.version };
  expect(await rejectionCode(server.commit(handle, sub))).toBe('EFULL');
  expect(disk.sizeOf(key)).toBe(0);
  expect(await rejectionCode(server.commit(handle, sub))).toBe('EUNCERTAIN');
  expect(disk.sizeOf(key)).toBe(10);
  await server.commit(handle, sub);
  let isAnswered = false;
  const asked = server.state(handle, {}).then(() => {
    isAnswered = true;
  });
  await nextTurn();
  expect(isAnswered).toBe(false);
  gate.resolve();
  await asked;
  expect(server.calls.map(({ operation }) => operation)).toEqual([
    'open',
    'place',
    'upload',
    'commit',
    'commit',
    'commit',
    'state',
  ]);
});

it('a segment that fails fails all its writes, and its receipts are never committed', async () => {
  const disk = (await parts()).disk();
  const key = disk.add(4096);
  const full = new NetsealError('EFULL', 'no room');
  const server = new ScriptedServer(disk, {
    script: ({ operation, number }) => (operation === 'upload' && number === 1 ? { error: full } : undefined),
  });
  const { handle, state } = await server.open(key, {});
  const first = server.write({ handle, units: [unit(0)] });
  const second = server.write({ handle, units: [unit(1)] });
  const receipts = [...(await first.placed), ...(await second.placed)];
  server.push();
  await expect(first.done).rejects.toBe(full);
  await expect(second.done).rejects.toBe(full);
  const into = new Uint8Array(200);
  expect((await server.read({ handle, receipts, into })).errors.size).toBe(2);
  const sub = { sizeBytes: 10, cutBytes: 0, ifVersion: state.version };
  await expect(server.commit(handle, { ...sub, receipts: new Map([[0, receipts[0]]]) })).rejects.toBe(full);
  const [again] = await server.write({ handle, units: [unit(0)] }).placed;
  await server.commit(handle, { ...sub, receipts: new Map([[0, again]]) });
  expect(disk.unit(key, 0)).toBe(again);
});

it('memory that is used again before a write is done is noticed', async () => {
  const disk = (await parts()).disk();
  const server = new ScriptedServer(disk);
  const { handle } = await server.open(disk.add(4096), {});
  const written = unit(3);
  const { placed, done } = server.write({ handle, units: [written] });
  await placed;
  written.bytes.fill(0);
  server.push();
  await done;
  expect(server.violations).toEqual(['the record of unit 3 changed before it was durable']);
});

it('other clients change, damage, lose and remove', async () => {
  const disk = (await parts()).disk();
  const key = disk.add(4096);
  const server = new ScriptedServer(disk);
  const { handle, state } = await server.open(key, {});
  const receipts = [0, 1].map(index => disk.store(unit(index).bytes, { tag: randomBytes(16) }));
  const [first, second] = receipts;
  disk.change(key, { sizeBytes: 8192, zeroPointBytes: 4096, units: new Map(receipts.entries()) });
  expect(await server.locate(handle, 0, 1, {})).toEqual([undefined]);
  const told = await server.state(handle, {});
  expect(told).toEqual({ version: told.version, sizeBytes: 8192, zeroPointBytes: 4096 });
  expect(told.version).not.toBe(state.version);
  expect(await server.locate(handle, 0, 3, {})).toEqual([first, second, undefined]);
  const before = new Uint8Array(100);
  const after = new Uint8Array(200);
  await server.read({ handle, receipts: [first!], into: before });
  disk.damage(first!, 5);
  disk.lose(second!);
  const { errors } = await server.read({ handle, receipts, into: after });
  expect([...errors.keys()]).toEqual([1]);
  expect(after[5]).toBe((before[5] ?? 0) ^ 1);
  disk.remove(key);
  expect(await rejectionCode(server.state(handle, {}))).toBe('EMISSING');
});
