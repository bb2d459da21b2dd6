/** Objects: what was put comes back, whole and in parts, under a version of its own. */
import assert from 'node:assert/strict';
import { assertFields, type Contract, listAll, rejectionOf, text, textOf } from './support.ts';

export function defineObjects({ it, open }: Contract): void {
  it('gives back what was put, gathered from its parts, with version and size', async () => {
    const { store } = await open();
    const { version } = await store.put('s/x', [text('one '), text(''), text('two')]);
    const found = await store.get('s/x');
    assert.equal(textOf(found.bytes), 'one two');
    assertFields(found, { version, sizeBytes: 7 });
    assertFields(await store.stat('s/x'), { version, sizeBytes: 7 });
  });

  it('keeps empty objects', async () => {
    const { store } = await open();
    await store.put('empty', []);
    assertFields(await store.get('empty'), { sizeBytes: 0, bytes: new Uint8Array(0) });
    const ranged = await store.get('empty', { range: { offsetBytes: 5, lengthBytes: 5 } });
    assert.equal(ranged.bytes.byteLength, 0);
  });

  it('keeps objects of many parts and many bytes', async () => {
    const { store } = await open();
    const parts = Array.from({ length: 1500 }, (_, at) => new Uint8Array(3000).fill(at));
    await store.put('big', parts);
    const { bytes } = await store.get('big');
    assert.equal(Buffer.compare(bytes, Buffer.concat(parts)), 0);
  });

  it('a range gives what it covers, also where the object ends', async () => {
    const { store } = await open();
    await store.put('r', [text('0123456789')]);
    const read = async (offsetBytes: number, lengthBytes: number): Promise<string> => {
      const { bytes, sizeBytes } = await store.get('r', { range: { offsetBytes, lengthBytes } });
      assert.equal(sizeBytes, 10);
      return textOf(bytes);
    };
    assert.equal(await read(0, 3), '012');
    assert.equal(await read(4, 3), '456');
    assert.equal(await read(8, 100), '89');
    assert.equal(await read(10, 1), '');
    assert.equal(await read(99, 1), '');
    assert.equal(await read(3, 0), '');
  });

  it('reads into the memory that it is given, shared or not, and touches no more of it', async () => {
    const { store } = await open();
    await store.put('r', [text('0123456789')]);
    for (const buffer of [new ArrayBuffer(16), new SharedArrayBuffer(16)]) {
      const memory = new Uint8Array(buffer).fill(0x2e);
      const into = memory.subarray(2, 8);
      const { bytes } = await store.get('r', { range: { offsetBytes: 1, lengthBytes: 4 }, into });
      assert.deepEqual([bytes.buffer, bytes.byteOffset, bytes.byteLength], [buffer, 2, 4]);
      assert.equal(textOf(memory), '..1234..........');
    }
  });

  it('reads the beginning of an object that is larger than the memory given, and says its size', async () => {
    const { store } = await open();
    await store.put('r', [text('0123456789')]);
    const found = await store.get('r', { into: new Uint8Array(4) });
    assert.deepEqual([textOf(found.bytes), found.sizeBytes], ['0123', 10]);
  });

  it('takes parts from shared memory', async () => {
    const { store } = await open();
    const shared = new Uint8Array(new SharedArrayBuffer(100)).fill(7);
    await store.put('sh', [shared.subarray(10, 20), text('x'), shared.subarray(0, 5)]);
    const { bytes } = await store.get('sh');
    assert.deepEqual([...bytes], [...Array(10).fill(7), 0x78, ...Array(5).fill(7)]);
  });

  it('ranges and buffers that make no sense are refused', async () => {
    const { store } = await open();
    await store.put('r', [text('0')]);
    for (const range of [
      { offsetBytes: -1, lengthBytes: 1 },
      { offsetBytes: 0, lengthBytes: -1 },
      { offsetBytes: 0.5, lengthBytes: 1 },
      { offsetBytes: 0, lengthBytes: Number.NaN },
    ]) {
      assert.equal(await rejectionOf(store.get('r', { range })), 'EINVAL');
    }
    const range = { offsetBytes: 0, lengthBytes: 5 };
    assert.equal(await rejectionOf(store.get('r', { range, into: new Uint8Array(4) })), 'EINVAL');
    assert.equal(await rejectionOf(store.list({ limit: 0 })), 'EINVAL');
  });

  it('what is not there is missing; deleting it is well', async () => {
    const { store } = await open();
    assert.equal(await rejectionOf(store.get('no')), 'EMISSING');
    assert.equal(await rejectionOf(store.stat('no/such')), 'EMISSING');
    await store.delete('no');
    await store.delete('no/such');
    await store.put('yes', [text('1')]);
    await store.delete('yes');
    await store.delete('yes');
    assert.equal(await rejectionOf(store.get('yes')), 'EMISSING');
    assert.deepEqual(await listAll(store), []);
  });

  it('equal bytes put again, or after a delete, have another version', async () => {
    const { store } = await open();
    const versions = new Set<string>();
    for (let round = 0; round < 20; round += 1) {
      versions.add((await store.put('v', [text('same')])).version);
      if (round % 3 === 0) await store.delete('v');
    }
    assert.equal(versions.size, 20);
  });

  it('a get can insist on a version', async () => {
    const { store } = await open();
    const first = await store.put('v', [text('1')]);
    assert.equal(textOf((await store.get('v', { ifMatch: first.version })).bytes), '1');
    await store.put('v', [text('2')]);
    assert.equal(await rejectionOf(store.get('v', { ifMatch: first.version })), 'ECONFLICT');
    assert.equal(await rejectionOf(store.get('gone', { ifMatch: first.version })), 'EMISSING');
  });
}
