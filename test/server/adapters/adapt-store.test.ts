/** Stores over clients of a few functions. */
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { NetsealError } from '../../../src/base/errors.ts';
import { adaptStore } from '../../../src/server/adapters/adapt-store.ts';
import { clientError } from '../../../src/server/adapters/client-errors.ts';
import { loadLibrary } from '../../../src/server/adapters/optional-library.ts';
import type { ClientObject, StorageClient } from '../../../src/server/adapters/storage-client.ts';
import type { ObjectStore } from '../../../src/server/store.ts';
import { describeStore } from '../describe-store.ts';

/** As little as a client can have. */
function mapClient(objects: Map<string, Uint8Array>): StorageClient {
  return {
    name: 'a map',
    get: async key => objects.get(key),
    put: async (key, body) => objects.set(key, body.bytes().slice()),
    delete: async key => objects.delete(key),
    list: async () => [...objects].map(([key, bytes]) => ({ key, totalBytes: bytes.byteLength })),
  };
}

function statusError(httpStatusCode: number): Error {
  return Object.assign(new Error(`status ${httpStatusCode}`), {
    $metadata: { httpStatusCode, requestId: 'r1' },
  });
}

interface HttpLike extends StorageClient {
  get: StorageClient['get'];
  /** Called before each put; what it throws is the answer. */
  beforePut: () => void;
  /** Called after each put; what it throws is the answer, too. */
  afterPut: () => void;
}

/** A client as that of an HTTP service: its etags are those of the content. */
function httpClient(objects: Map<string, Uint8Array>): HttpLike {
  const etagOf = (bytes: Uint8Array): string => `"${createHash('md5').update(bytes).digest('hex')}"`;
  const find = (key: string): Uint8Array => {
    const bytes = objects.get(key);
    if (bytes === undefined) throw statusError(404);
    return bytes;
  };
  const self: HttpLike = {
    name: 'http',
    conditions: 'atomic',
    etags: true,
    ranges: true,
    atomicPut: true,
    beforePut: () => undefined,
    afterPut: () => undefined,
    get: async (key, { range }) => {
      const bytes = find(key);
      const { offsetBytes = 0, lengthBytes = bytes.byteLength } = range ?? {};
      const part = bytes.slice(offsetBytes, offsetBytes + lengthBytes);
      return { bytes: part, totalBytes: bytes.byteLength, etag: etagOf(bytes), modifiedAtMs: 5000 };
    },
    put: async (key, body, { ifAbsent, ifMatch }) => {
      self.beforePut();
      const present = objects.get(key);
      if (ifAbsent === true && present !== undefined) throw statusError(412);
      if (ifMatch !== undefined && present === undefined) throw statusError(404);
      if (ifMatch !== undefined && present !== undefined && etagOf(present) !== `"${ifMatch}"`)
        throw statusError(412);
      const bytes = body.bytes().slice();
      objects.set(key, bytes);
      self.afterPut();
      return { etag: etagOf(bytes) };
    },
    delete: async key => {
      find(key);
      objects.delete(key);
    },
    stat: async key => ({ totalBytes: find(key).byteLength, etag: etagOf(find(key)), modifiedAtMs: 5000 }),
    list: async function* () {
      for (const [key, bytes] of objects)
        yield { key, totalBytes: bytes.byteLength, etag: etagOf(bytes), modifiedAtMs: 5000 };
    },
    now: async () => 6000,
  };
  return self;
}

describeStore('a map as a store', async () => ({ store: adaptStore(mapClient(new Map())) }), {
  createIfAbsent: 'none',
  replaceIfMatch: 'none',
  rangedGet: false,
});
describeStore(
  'a client with etags and conditions as a store',
  async () => {
    const objects = new Map<string, Uint8Array>();
    return { store: adaptStore(httpClient(objects)), other: adaptStore(httpClient(objects)) };
  },
  { createIfAbsent: 'atomic', replaceIfMatch: 'atomic', rangedGet: true, serverClock: true },
);

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const textIn = async (store: ObjectStore, key: string): Promise<string> =>
  new TextDecoder().decode((await store.get(key)).bytes);

describe('a conditional put whose answer is lost', () => {
  function setUp(): { client: HttpLike; store: ObjectStore } {
    const client = httpClient(new Map());
    return { client, store: adaptStore(client) };
  }

  it('counts as done when it was', async () => {
    const { client, store } = setUp();
    client.afterPut = () => {
      client.afterPut = () => undefined;
      throw statusError(500);
    };
    const { version } = await store.put('x', [bytes('mine')], { condition: { ifAbsent: true } });
    expect(await store.get('x')).toMatchObject({ version });
    expect(await textIn(store, 'x')).toBe('mine');
  });

  it('is done when it was not', async () => {
    const { client, store } = setUp();
    client.beforePut = () => {
      client.beforePut = () => undefined;
      throw statusError(500);
    };
    await store.put('x', [bytes('mine')], { condition: { ifAbsent: true } });
    expect(await textIn(store, 'x')).toBe('mine');
  });

  it('is uncertain when another object is there by now', async () => {
    const objects = new Map<string, Uint8Array>();
    const client = httpClient(objects);
    const store = adaptStore(client);
    const { version } = await store.put('x', [bytes('old')]);
    const other = adaptStore(httpClient(objects));
    client.beforePut = () => {
      client.beforePut = () => undefined;
      void other.put('x', [bytes('theirs')], { condition: { ifMatch: version } });
      throw statusError(500);
    };
    await expect(store.put('x', [bytes('mine')], { condition: { ifMatch: version } })).rejects.toMatchObject({
      code: 'EUNCERTAIN',
      path: 'x',
    });
    expect(await textIn(store, 'x')).toBe('theirs');
  });

  it('is given up in the end', async () => {
    const { client, store } = setUp();
    let count = 0;
    client.beforePut = () => {
      count += 1;
      throw statusError(502);
    };
    const putting = store.put('x', [bytes('mine')], { condition: { ifAbsent: true } });
    await expect(putting).rejects.toMatchObject({ code: 'EUNCERTAIN' });
    expect(count).toBe(3);
  });
});

it('a range is all that is asked of a client that has ranges', async () => {
  const client = httpClient(new Map());
  const store = adaptStore(client);
  await store.put('x', [new Uint8Array(100_000)]);
  const sizes: number[] = [];
  const { get } = client;
  client.get = async (key, options) => {
    const found = (await get(key, options)) as ClientObject;
    sizes.push(found.bytes.byteLength);
    return found;
  };
  await store.get('x', { range: { offsetBytes: 0, lengthBytes: 10 } });
  await store.get('x', { range: { offsetBytes: 50, lengthBytes: 20 } });
  await store.get('x', { into: new Uint8Array(30) });
  expect(sizes).toEqual([10, 20, 30]);
  const end = await store.get('x', { range: { offsetBytes: 99_990, lengthBytes: 100 } });
  expect([end.bytes.byteLength, end.sizeBytes]).toEqual([10, 100_000]);
});

it('what is no object of a store is damage, and what was cut short as well', async () => {
  const objects = new Map([['foreign', bytes('hello')]]);
  const store = adaptStore(mapClient(objects));
  await store.put('x', [bytes('content')]);
  objects.set('cut', objects.get('x')!.subarray(0, 44));
  await expect(store.get('foreign')).rejects.toMatchObject({ code: 'EFORMAT' });
  await expect(store.get('cut')).rejects.toMatchObject({ code: 'EFORMAT' });
  const { entries } = await store.list({ limit: 10 });
  expect(entries.map(({ key }) => key)).toEqual(['cut', 'x']);
});

it('a client without a list is told apart from an empty store', async () => {
  const { get, put, delete: remove, name } = mapClient(new Map());
  const store = adaptStore({ name, get, put, delete: remove });
  await expect(store.list({ limit: 1 })).rejects.toMatchObject({ code: 'EUNSUPPORTED' });
});

it('a client that contradicts itself is refused', () => {
  const client = mapClient(new Map());
  expect(() => adaptStore({ ...client, conditions: 'atomic' })).toThrow(/has etags/);
  expect(() => adaptStore({ ...client, ranges: true })).toThrow(/has etags/);
  expect(() => adaptStore({ ...client, concurrency: 0 })).toThrow(/concurrency/);
  expect(() => adaptStore({ name: 'x' } as StorageClient)).toThrow(NetsealError);
});

describe('errors of clients', () => {
  const code = (error: unknown, call: 'read' | 'change' = 'change'): string =>
    clientError('store', 'key', call, error).code;

  it.each([
    [401, 'EDENIED'],
    [403, 'EDENIED'],
    [404, 'EMISSING'],
    [409, 'EUNAVAILABLE'],
    [411, 'EIO'],
    [412, 'ECONFLICT'],
    [429, 'EUNAVAILABLE'],
    [503, 'EUNAVAILABLE'],
    [507, 'EFULL'],
    [408, 'EUNCERTAIN'],
    [500, 'EUNCERTAIN'],
    [504, 'EUNCERTAIN'],
  ])('status %d of a change is %s', (status, expected) => {
    expect(code(statusError(status))).toBe(expected);
    expect(code(Object.assign(new Error('x'), { response: { status } }))).toBe(expected);
    expect(code(Object.assign(new Error('x'), { status }))).toBe(expected);
  });

  it('a lost answer matters after a change only', () => {
    const reset = Object.assign(new Error('reset'), { code: 'ECONNRESET' });
    expect(code(reset)).toBe('EUNCERTAIN');
    expect(code(reset, 'read')).toBe('EUNAVAILABLE');
    expect(code(Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }))).toBe('EUNAVAILABLE');
    expect(code(new Error('fetch failed', { cause: { code: 'ENOTFOUND' } }))).toBe('EUNAVAILABLE');
    expect(code(new Error('who knows'))).toBe('EUNCERTAIN');
    expect(code(Object.assign(new Error('none'), { code: 'ENOENT' }), 'read')).toBe('EMISSING');
  });

  it('say the request', () => {
    expect(clientError('store', 'key', 'read', statusError(403)).message).toBe(
      'store: status 403: key (request r1)',
    );
  });
});

it('a library that is not installed names the command that installs it', async () => {
  const loading = loadLibrary('no-such-library', 'x:// stores');
  await expect(loading).rejects.toMatchObject({
    code: 'EUNSUPPORTED',
    message: 'x:// stores need the package no-such-library: install it with "npm install no-such-library"',
  });
});
