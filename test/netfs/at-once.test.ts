/** Calls that are answered at once: `tryRead`, `tryWrite`, and promises of what is in memory. */
import { expect, it } from 'vitest';
import { KIB } from '../../src/base/geometry.ts';
import { TurnClock } from '../../src/base/turns.ts';
import { mixedBytes } from '../pipeline/support.ts';
import { Disk, expectSame, UNIT_BYTES } from './clients.ts';

const FULL = { bytes: mixedBytes(2 * UNIT_BYTES + 100, 5) };

/** A file that another client has written. */
async function coldFile(options = {}) {
  const disk = await Disk.make();
  const key = disk.add();
  const writer = await disk.client().open(key);
  await writer.write(FULL.bytes, { position: 0 });
  await writer.close();
  const client = disk.client(options);
  return { disk, key, client, file: await client.open(key) };
}

it('tryRead reads what is in memory, and nothing else', async () => {
  const { client, file } = await coldFile();
  const into = new Uint8Array(new SharedArrayBuffer(1000));
  expect(file.tryRead(into, 10)).toBeUndefined();
  await file.read(new Uint8Array(10), { position: 0 });
  const calls = client.server.calls.length;
  expect(file.tryRead(into, 10)).toBe(1000);
  expectSame(new Uint8Array(into), FULL.bytes.subarray(10, 1010));
  // The next unit is not there.
  expect(file.tryRead(into, UNIT_BYTES - 10)).toBeUndefined();
  expect(client.server.calls.length).toBe(calls);
});

it('tryRead ends at the end of the file', async () => {
  const { file } = await coldFile();
  const { byteLength } = FULL.bytes;
  const into = new Uint8Array(200);
  expect(file.tryRead(into, byteLength)).toBe(0);
  expect(file.tryRead(into, 2 ** 50)).toBe(0);
  await file.read(into, { position: byteLength - 50 });
  expect(file.tryRead(into, byteLength - 50)).toBe(50);
  expectSame(into.subarray(0, 50), FULL.bytes.subarray(byteLength - 50));
});

it('tryRead asks for another version first when the file was believed long enough', async () => {
  const { disk, key, file } = await coldFile();
  const into = new Uint8Array(100);
  await file.read(into, { position: 0 });
  const other = await disk.client().open(key);
  await other.write(new Uint8Array(100).fill(9), { position: 0 });
  await other.close();
  expect(file.tryRead(into, 0)).toBe(100);
  expectSame(into, FULL.bytes.subarray(0, 100));
  disk.clock.pass(1000);
  expect(file.tryRead(into, 0)).toBeUndefined();
  await file.read(into, { position: 0 });
  expectSame(into, new Uint8Array(100).fill(9));
  expect(file.tryRead(into, 0)).toBe(100);
  // A file with changes is not asked for.
  disk.clock.pass(1000);
  expect(file.tryWrite(new Uint8Array(10).fill(8), 0)).toBe(10);
  expect(file.tryRead(into, 0)).toBe(100);
  expect(into[9]).toBe(8);
});

it('tryWrite writes as far as there is memory, and what it has written is committed', async () => {
  const { disk, key, client, file } = await coldFile({ pageBytes: 128 * KIB });
  const piece = mixedBytes(8 * KIB, 6);
  let at = 0;
  for (;;) {
    const done = file.tryWrite(piece, at);
    if (done === undefined) break;
    expect(done).toBe(piece.byteLength);
    at += done;
  }
  const { budgetBytes, heldBytes } = client.pages.use;
  expect(heldBytes).toBeGreaterThanOrEqual((budgetBytes / 4) * 3);
  await file.sync();
  const stored = await disk.content(key);
  for (let start = 0; start < at; start += piece.byteLength) {
    expectSame(stored.subarray(start, start + piece.byteLength), piece);
  }
  expect(file.tryWrite(piece, 0)).toBe(piece.byteLength);
});

it('tryWrite leaves to write what it must wait for', async () => {
  const { client, key, file } = await coldFile({ pageBytes: 128 * KIB });
  const bytes = mixedBytes(10, 1);
  const appending = await client.open(key, { isAppending: true });
  const synchronous = await client.open(key, { isSynchronous: true });
  expect(appending.tryWrite(bytes, 0)).toBeUndefined();
  expect(synchronous.tryWrite(bytes, 0)).toBeUndefined();
  expect(file.tryWrite(new Uint8Array(9 * KIB), 0)).toBeUndefined();
  expect(file.tryWrite(new Uint8Array(0), 0)).toBe(0);
  expect(file.status().isCommitted).toBe(true);
});

it('both throw as read and write reject', async () => {
  const { client, key, file } = await coldFile();
  const bytes = new Uint8Array(10);
  const readable = await client.open(key, { isWritable: false });
  const writable = await client.open(key, { isReadable: false });
  const closed = await client.open(key);
  await closed.close();
  for (const [act, code] of [
    [() => readable.tryWrite(bytes, 0), 'EDENIED'],
    [() => writable.tryRead(bytes, 0), 'EDENIED'],
    [() => closed.tryRead(bytes, 0), 'ECLOSED'],
    [() => closed.tryWrite(bytes, 0), 'ECLOSED'],
    [() => file.tryRead(bytes, -1), 'EINVAL'],
    [() => file.tryWrite(bytes, 0.5), 'EINVAL'],
    [() => file.tryRead('bytes' as never, 0), 'EINVAL'],
    [() => file.tryWrite(bytes, Number.MAX_SAFE_INTEGER), 'EINVAL'],
  ] as const) {
    expect(act).toThrow(expect.objectContaining({ code }));
  }
});

it('a loop of promises that are answered at once lets others have their turn', async () => {
  const { file } = await coldFile({ turnMs: 1 });
  const into = new Uint8Array(10);
  await file.read(into, { position: 0 });
  for (const act of [() => file.read(into, { position: 0 }), () => file.write(into, { position: 0 })]) {
    let hasFired = false;
    setTimeout(() => {
      hasFired = true;
    }, 0);
    for (let round = 0; round < 3_000_000 && !hasFired; round += 1) await act();
    expect(hasFired).toBe(true);
  }
});

it('a turn begins anew when the event loop has gone on', async () => {
  const always = new TurnClock(0);
  const answers = Array.from({ length: 16 }, () => always.count());
  // The time is not looked at each time.
  expect(answers.filter(isOver => isOver).length).toBe(2);
  await new Promise(resolve => setImmediate(resolve));
  expect(always.count()).toBe(false);
  const never = new TurnClock(Number.POSITIVE_INFINITY);
  expect(Array.from({ length: 100 }, () => never.count())).not.toContain(true);
});
