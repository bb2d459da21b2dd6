/** The table of functions: of each that the library exports, what it must refuse. */
import { join } from 'node:path';
import { MemoryStore, Tally } from '../../src/index.ts';
import type { Objects } from './argument-objects.ts';
import {
  BYTES,
  CALLBACK,
  FLAG,
  fields,
  ID_BYTES,
  LIST,
  NOTHING,
  NUMBERS,
  needed,
  OBJECT,
  RAW_KEY,
  type Row,
  row,
  SECRET,
  SIGNAL,
  SLOT,
  SLOTS,
  TEXT,
  VOLUME_ID,
  WRONG_ATTRIBUTES,
  wrongCodec,
  wrongKeys,
  wrongPins,
  wrongSealing,
} from './argument-values.ts';

const CLIENT = {
  name: 'client',
  get: async () => undefined,
  put: async () => undefined,
  delete: async () => undefined,
};

const nothing = (): null => null;
const DRIVER = {
  hasItem: () => false,
  getItem: nothing,
  getItemRaw: nothing,
  setItemRaw: nothing,
  removeItem: nothing,
  getKeys: () => [],
};

export function functionRows({
  cache,
  folder,
  header,
  keys,
  memory,
  pin,
  pipeline,
  store,
  volume,
}: Objects): Record<string, Row> {
  const wrongPin = wrongPins(pin);
  const volumeOptions = { store, secrets: RAW_KEY };
  return {
    // Take anything.
    isNetsealError: NOTHING,
    NetsealError: NOTHING,
    memoryState: NOTHING,
    DirectoryStore: NOTHING,
    openCache: row(
      [join(folder, 'c2'), {}, { key: 'memory' }],
      [...TEXT, '', 'a\0b'],
      needed(
        {},
        {
          budgetBytes: [...NUMBERS, 0],
          unitsMax: [...NUMBERS, 0],
          zoneBytes: [...NUMBERS, 0],
          queueBytes: NUMBERS.slice(0, 1),
          disk: OBJECT.filter(value => value !== null),
          readsOnThisThread: FLAG.filter(value => value !== null),
        },
      ),
      needed(
        { key: 'memory' },
        { key: OBJECT, nowMs: CALLBACK, onProblem: CALLBACK, onEvent: CALLBACK, providers: OBJECT },
      ),
    ),
    PlainCache: row([cache, pipeline, 4096], needed({}, {}), needed({}, {}), [...NUMBERS, 0, 4097]),
    ThreadReader: row([cache.share()], needed({}, {}), []),
    selectArgon2: row([], [5, 'none', {}, null]),
    volumeHeaderLength: row([header.bytes], BYTES),
    inspectVolumeHeader: row([header.bytes], BYTES),
    Keyring: row([VOLUME_ID, new Map([[1, new Uint8Array(32)]])], ID_BYTES, [
      ...OBJECT,
      {},
      new Map(),
      new Map([[0, new Uint8Array(32)]]),
      new Map([[1, 'x']]),
    ]),
    checkPin: row([pin, header], wrongPin, needed({}, {})),
    pinOf: row([header], needed({}, {})),
    createVolumeHeader: row(
      [{ slots: [SLOT] }],
      needed({ slots: [SLOT] }, { slots: SLOTS, settings: BYTES, argon2: [5, 'none', {}], nowMs: CALLBACK }),
    ),
    unlockVolumeHeader: row(
      [header.bytes, RAW_KEY],
      BYTES,
      SECRET,
      fields({}, { slotId: TEXT, argon2: [5, 'none', {}], nowMs: CALLBACK }),
    ),
    openStream: row(
      [{ pipeline, keys }],
      needed({ pipeline, keys }, { pipeline: [undefined, ...OBJECT, {}], keys: wrongKeys }),
    ),
    sealStream: row(
      [{ pipeline, keys }],
      needed(
        { pipeline, keys },
        {
          pipeline: [undefined, ...OBJECT, {}],
          keys: wrongKeys,
          unitSizeBytes: [...NUMBERS.filter(value => value !== null), 0, 4097],
          ...wrongSealing,
          padding: [0, 3, 2 ** 17, 1.5, 'padmé'],
        },
      ),
    ),
    openPipeline: row(
      [{ workers: 0 }],
      fields(
        { workers: 0 },
        {
          workers: [...NUMBERS, 257],
          memoryBytes: [...NUMBERS.slice(0, 5), 0],
          providers: [...OBJECT, { codecs: 'none' }, { ciphers: 5 }],
        },
      ),
    ),
    adaptStore: row(
      [CLIENT],
      needed(CLIENT, {
        name: TEXT,
        get: CALLBACK,
        put: CALLBACK,
        delete: CALLBACK,
        conditions: [...TEXT, 'some'],
        etags: FLAG,
        ranges: [...FLAG, true],
        atomicPut: FLAG,
        sharedMemory: FLAG,
        listIsConsistent: FLAG,
        objectBytesMax: [...NUMBERS, 0],
        listEntriesMax: [...NUMBERS, 0],
        concurrency: [...NUMBERS, 0],
      }),
    ),
    isSafeForWriters: NOTHING,
    probeStore: row(
      [memory],
      needed({}, {}),
      fields(
        { largeBytes: 0 },
        {
          other: [...OBJECT, {}],
          rounds: [...NUMBERS, 0],
          writers: [...NUMBERS, 1],
          largeBytes: NUMBERS,
          signal: SIGNAL,
        },
      ),
    ),
    openS3Store: row(
      [{ bucket: 'b' }],
      needed(
        { bucket: 'b' },
        {
          bucket: [...TEXT, undefined, ''],
          prefix: [...TEXT, '/a', 'a/'],
          endpoint: [...TEXT, 'no url'],
          region: TEXT,
          client: [...OBJECT, {}],
          concurrency: [...NUMBERS, 0],
        },
      ),
    ),
    openStoreUrl: row(
      ['s3://b'],
      [
        ...TEXT,
        '',
        'x',
        'ftp://b',
        's3://',
        's3://u:p@b',
        's3://b?x=1',
        's3://b?endpoint=x',
        's3://b#x',
        's3://b/%',
      ],
      fields({}, { concurrency: [...NUMBERS, 0] }),
    ),
    MemoryStore: row([], fields({}, { name: TEXT, capabilities: OBJECT }), OBJECT),
    StoreMeter: row([], CALLBACK, OBJECT),
    wrapStore: row(
      [memory, {}],
      needed({}, {}),
      needed(
        {},
        {
          retry: [...OBJECT, { attemptsMax: 0 }, { pauseMs: -1 }],
          limit: [...OBJECT, {}, { concurrency: 0 }, { concurrency: 1, queueMax: -1 }],
        },
      ),
      fields({}, { meter: [...OBJECT, {}] }),
    ),
    unstorageStore: row([DRIVER], [...OBJECT, {}, { ...DRIVER, getKeys: 5 }], fields({}, { name: TEXT })),
    volumeStore: row(
      [volume],
      needed({}, {}),
      fields({}, { prefix: [...TEXT, '..', 'a/./b', 'a\0b'], name: TEXT }),
    ),
    get: row(
      [volume, ['/f'], join(folder, 'out'), new Tally()],
      needed({}, {}),
      [...LIST, [], [5]],
      [5, null, undefined, {}],
      needed({}, {}),
      fields({}, { recursive: FLAG, signal: SIGNAL }),
    ),
    put: row(
      [volume, [join(folder, 'none')], '/', new Tally()],
      needed({}, {}),
      [...LIST, [], [5]],
      [5, null, undefined, {}],
      needed({}, {}),
      fields({}, { recursive: FLAG, signal: SIGNAL }),
    ),
    Tally: row([], fields({}, { onProgress: CALLBACK, onDeed: CALLBACK, onResumed: CALLBACK })),
    formatCodec: row([{ codec: 'zstd', level: 1 }], wrongCodec),
    parseCodec: row(['zstd:1'], [...TEXT, '', 'zstd:99']),
    parseSuite: row(['xaes-256-gcm'], [...TEXT, '', 'none']),
    sealedBytesMax: row([4096, 4096], NUMBERS, [...NUMBERS, 0, 3, 'padmé']),
    createVolume: row(
      [{ store: new MemoryStore(), slots: [SLOT] }],
      needed(
        { store: new MemoryStore(), slots: [SLOT] },
        {
          store: [undefined, ...OBJECT, {}],
          slots: SLOTS,
          settings: [...OBJECT, { unitSizeBytes: 5 }, { codec: 'zstd' }, { suite: 5 }, { padding: -1 }],
          attributes: fields({}, WRONG_ATTRIBUTES),
          state: [...OBJECT, {}],
        },
      ),
    ),
    openVolume: row(
      [volumeOptions],
      needed(volumeOptions, {
        store: [undefined, ...OBJECT, {}],
        secrets: SECRET,
        pipeline: [...OBJECT, {}],
        state: [...OBJECT, {}],
        freshMs: [-1, '1', Number.NaN, null],
        graceMs: [-1, '1', Number.NaN, null],
        segmentBytes: [...NUMBERS, 0],
        onProblem: CALLBACK,
      }),
    ),
    gc: row(
      [volume],
      needed({}, {}),
      fields(
        {},
        {
          dryRun: FLAG,
          compact: FLAG,
          graceMs: [-1, '1', Number.NaN, null],
          copyBytesMax: [-1, null],
          onProgress: CALLBACK,
          signal: SIGNAL,
        },
      ),
    ),
    verify: row(
      [volume],
      needed({}, {}),
      fields(
        {},
        { deep: FLAG, sample: [-1, 1.1, '1', null], onProgress: CALLBACK, chance: CALLBACK, signal: SIGNAL },
      ),
    ),
    toName: row(['x'], [5, null, undefined, {}, '\ud800']),
    nameBytes: row(['x'], TEXT),
    openStateFolder: row([join(folder, 's2'), 'x'], [...TEXT, '', 'a\0b'], [...TEXT, '']),
    listState: row([join(folder, 's2')], [...TEXT, '', 'a\0b']),
    forgetState: row([join(folder, 's2'), 'y'], [...TEXT, '', 'a\0b'], TEXT),
  };
}
