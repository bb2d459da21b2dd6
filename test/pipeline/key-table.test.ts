import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { equalBytes } from '../../src/base/bytes.ts';
import { randomBytes } from '../../src/base/random.ts';
import { Keyring } from '../../src/keys/keyring.ts';
import { type KeyHandle, type KeyQuery, KeyReader, KeyTable } from '../../src/pipeline/key-table.ts';
import type { Providers } from '../../src/unit/providers.ts';
import { RecordKey } from '../../src/unit/record-key.ts';
import type { BoundCipher } from '../../src/unit/suite.ts';
import { errorCodeOf } from '../support/errors.ts';
import { checkProperty } from '../support/property.ts';
import { NATIVE } from '../support/providers.ts';
import { OBJECT_ID } from './support.ts';

const CACHE_SIZE = 32;

function keyringOf(...epochs: number[]): Keyring {
  return new Keyring(randomBytes(16), new Map(epochs.map(epoch => [epoch, randomBytes(32)])));
}

function query(handleId: number, epoch: number, objectId: Uint8Array = OBJECT_ID): KeyQuery {
  return { handleId, epoch, kind: 'unit', suite: 'xaes-256-gcm', objectId };
}

/** What only the right key computes. */
function fingerprint(key: RecordKey): Uint8Array {
  return key.commitment;
}

function expected(keyring: Keyring, epoch: number, objectId: Uint8Array = OBJECT_ID): Uint8Array {
  const name = { volumeId: keyring.volumeId, objectId, kind: 'unit', suite: 'xaes-256-gcm', epoch } as const;
  return fingerprint(new RecordKey(name, keyring.epochKey(epoch), NATIVE.suite('xaes-256-gcm')));
}

function contains(memory: SharedArrayBuffer, bytes: Uint8Array): boolean {
  return Buffer.from(memory).includes(Buffer.from(bytes));
}

/** Providers whose ciphers say how many of them are alive. */
function countingProviders(): { providers: Providers; alive: () => number; bound: () => number } {
  let bound = 0;
  let destroyed = 0;
  const suite = NATIVE.suite('xaes-256-gcm');
  const counted = {
    ...suite,
    bind(key: Uint8Array): BoundCipher {
      bound += 1;
      const cipher = suite.bind(key);
      return {
        seal: cipher.seal,
        open: cipher.open,
        destroy() {
          destroyed += 1;
          cipher.destroy();
        },
      };
    },
  };
  return {
    providers: { ...NATIVE, suite: () => counted },
    alive: () => bound - destroyed,
    bound: () => bound,
  };
}

interface Known {
  readonly id: number;
  readonly newestEpoch: number;
  readonly keyring: Keyring;
}

function expectAllThere(reader: KeyReader, { id, keyring }: Known): void {
  for (const epoch of keyring.epochs) {
    expect(fingerprint(reader.get(query(id, epoch)))).toEqual(expected(keyring, epoch));
  }
}

function expectAllGone(reader: KeyReader, memory: SharedArrayBuffer, { id, keyring }: Known): void {
  for (const epoch of keyring.epochs) {
    expect(errorCodeOf(() => reader.get(query(id, epoch)))).toBe('EKEY');
    expect(contains(memory, keyring.epochKey(epoch))).toBe(false);
  }
  expect(contains(memory, keyring.volumeId)).toBe(false);
}

describe('key table', () => {
  it('a reader finds every epoch of every keyring, and no other, whatever was added and removed', () => {
    const epoch = fc.oneof(
      fc.constantFrom(1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1),
      fc.integer({ min: 1, max: 2 ** 32 - 1 }),
    );
    const steps = fc.array(
      fc.oneof(
        fc.uniqueArray(epoch, { minLength: 1, maxLength: 4 }),
        fc.nat(20).map(remove => ({ remove })),
      ),
      { maxLength: 12 },
    );
    checkProperty(steps, list => {
      const table = new KeyTable();
      const reader = new KeyReader(table.memory, NATIVE);
      const live: (KeyHandle & Known)[] = [];
      const removed: (KeyHandle & Known)[] = [];
      for (const step of list) {
        if (Array.isArray(step)) {
          const keyring = keyringOf(...step);
          const handle = table.add(keyring);
          expect(handle.newestEpoch).toBe(Math.max(...step));
          expect([...live, ...removed].map(({ id }) => id)).not.toContain(handle.id);
          live.push({ ...handle, keyring });
        } else {
          const [gone] = live.splice(step.remove % Math.max(1, live.length), 1);
          if (gone === undefined) continue;
          table.remove(gone);
          removed.push(gone);
        }
        reader.refresh();
      }
      for (const each of live) expectAllThere(reader, each);
      for (const each of removed) expectAllGone(reader, table.memory, each);
    });
  });

  it('a full table is EINVAL and adds nothing; removing makes room', () => {
    const table = new KeyTable();
    const epochs = Array.from({ length: 256 }, (_, at) => at + 1);
    const handles = Array.from({ length: 3 }, () => table.add(keyringOf(...epochs)));
    const nearlyFull = table.add(keyringOf(...epochs.slice(1)));
    const before = new Uint8Array(table.memory).slice();
    const tooMany = keyringOf(1, 2);
    expect(errorCodeOf(() => table.add(tooMany))).toBe('EINVAL');
    expect(equalBytes(new Uint8Array(table.memory), before)).toBe(true);
    table.add(keyringOf(7));
    expect(errorCodeOf(() => table.add(keyringOf(7)))).toBe('EINVAL');
    table.remove(nearlyFull);
    const handle = table.add(tooMany);
    const reader = new KeyReader(table.memory, NATIVE);
    expect(fingerprint(reader.get(query(handle.id, 2)))).toEqual(expected(tooMany, 2));
    expect(fingerprint(reader.get(query(handles[2]!.id, 256)))).toHaveLength(32);
  });

  it('a destroyed keyring is refused, and no handle comes of it', () => {
    const table = new KeyTable();
    const keyring = keyringOf(1);
    keyring.destroy();
    expect(errorCodeOf(() => table.add(keyring))).toBe('ECLOSED');
    const reader = new KeyReader(table.memory, NATIVE);
    expect(errorCodeOf(() => reader.get(query(1, 1)))).toBe('EKEY');
  });

  it('the table keeps its copy when the keyring is destroyed', () => {
    const table = new KeyTable();
    const keyring = keyringOf(1);
    const right = expected(keyring, 1);
    const { id } = table.add(keyring);
    keyring.destroy();
    expect(fingerprint(new KeyReader(table.memory, NATIVE).get(query(id, 1)))).toEqual(right);
  });

  it('no two tables give out the same handle: a handle of one pipeline names no key of another', () => {
    const first = new KeyTable();
    const second = new KeyTable();
    const { id } = first.add(keyringOf(1));
    second.add(keyringOf(1));
    expect(errorCodeOf(() => new KeyReader(second.memory, NATIVE).get(query(id, 1)))).toBe('EKEY');
  });

  it('the commitment is that of the key which seals, and EKEY for what the table does not have', () => {
    const table = new KeyTable();
    const keyring = keyringOf(1, 2 ** 32 - 1);
    const handle = table.add(keyring);
    expect(handle.volumeId).toEqual(keyring.volumeId);
    for (const epoch of keyring.epochs) {
      expect(table.commitment(query(handle.id, epoch))).toEqual(expected(keyring, epoch));
    }
    expect(errorCodeOf(() => table.commitment(query(handle.id, 2)))).toBe('EKEY');
    table.remove(handle);
    expect(errorCodeOf(() => table.commitment(query(handle.id, 1)))).toBe('EKEY');
    expect(errorCodeOf(() => table.commitment(query(0, 0)))).toBe('EKEY');
  });

  it('handle 0, the mark of a free entry, names no key', () => {
    const table = new KeyTable();
    const reader = new KeyReader(table.memory, NATIVE);
    expect(errorCodeOf(() => reader.get(query(0, 0)))).toBe('EKEY');
  });

  it('removing and adding as often as one likes leaves the table as it was', () => {
    const table = new KeyTable();
    for (let round = 0; round < 3000; round += 1) table.remove(table.add(keyringOf(1)));
    expect(new Uint8Array(table.memory, 64).every(byte => byte === 0)).toBe(true);
  });

  it('destroy zeroes every entry', () => {
    const table = new KeyTable();
    table.add(keyringOf(1, 2 ** 32 - 1));
    table.add(keyringOf(3));
    table.destroy();
    expect(new Uint8Array(table.memory, 64).every(byte => byte === 0)).toBe(true);
  });
});

describe('key reader', () => {
  it('keeps derived keys between jobs and drops all of them when any keyring is removed', () => {
    const { providers, alive, bound } = countingProviders();
    const table = new KeyTable();
    const kept = keyringOf(1);
    const { id } = table.add(kept);
    const other = table.add(keyringOf(1));
    const reader = new KeyReader(table.memory, providers);
    reader.get(query(id, 1));
    reader.get(query(other.id, 1));
    reader.refresh();
    reader.get(query(id, 1));
    expect([alive(), bound()]).toEqual([2, 2]);
    table.remove(other);
    reader.refresh();
    expect(alive()).toBe(0);
    expect(errorCodeOf(() => reader.get(query(other.id, 1)))).toBe('EKEY');
    expect(fingerprint(reader.get(query(id, 1)))).toEqual(expected(kept, 1));
    reader.clear();
    expect(alive()).toBe(0);
  });

  it(`keeps ${CACHE_SIZE} derived keys and no more, each of them right`, () => {
    const { providers, alive, bound } = countingProviders();
    const table = new KeyTable();
    const keyring = keyringOf(1);
    const { id } = table.add(keyring);
    const reader = new KeyReader(table.memory, providers);
    const objectIds = Array.from({ length: CACHE_SIZE + 40 }, () => randomBytes(16));
    for (const objectId of objectIds) {
      expect(fingerprint(reader.get(query(id, 1, objectId)))).toEqual(expected(keyring, 1, objectId));
      expect(alive()).toBeLessThanOrEqual(CACHE_SIZE);
    }
    expect([alive(), bound()]).toEqual([CACHE_SIZE, objectIds.length]);
    reader.get(query(id, 1, objectIds.at(-1)));
    expect(bound()).toBe(objectIds.length);
  });

  it('a kept key is not mistaken for that of another handle, epoch, kind, suite or object', () => {
    const table = new KeyTable();
    const keyring = keyringOf(1, 2);
    const first = table.add(keyring);
    const second = table.add(keyringOf(1, 2));
    const reader = new KeyReader(table.memory, NATIVE);
    const base = query(first.id, 1);
    const queries: KeyQuery[] = [
      base,
      { ...base, handleId: second.id },
      { ...base, epoch: 2 },
      { ...base, kind: 'streamUnit' },
      { ...base, suite: 'xchacha20-poly1305' },
      { ...base, objectId: randomBytes(16) },
    ];
    const seen = [...queries, ...queries].map(each =>
      Buffer.from(fingerprint(reader.get(each))).toString('hex'),
    );
    expect(new Set(seen).size).toBe(queries.length);
    expect(seen.slice(queries.length)).toEqual(seen.slice(0, queries.length));
  });

  it('the object id may lie in shared memory that changes afterwards', () => {
    const table = new KeyTable();
    const keyring = keyringOf(1);
    const { id } = table.add(keyring);
    const reader = new KeyReader(table.memory, NATIVE);
    const objectId = new Uint8Array(new SharedArrayBuffer(16)).fill(3);
    const before = fingerprint(reader.get(query(id, 1, objectId)));
    objectId.fill(4);
    expect(fingerprint(reader.get(query(id, 1, objectId)))).toEqual(expected(keyring, 1, objectId.slice()));
    objectId.fill(3);
    expect(fingerprint(reader.get(query(id, 1, objectId)))).toEqual(before);
  });
});
