/**
 * Everything that the library exports takes wrong arguments with EINVAL, and calls after close with ECLOSED,
 * and changes nothing. The table has a row for each function and method: one that is exported without a row
 * fails the first test.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { codeOf } from '../../src/base/errors.ts';
import * as netseal from '../../src/index.ts';
import { encodeHeader, RECORD_OVERHEAD_BYTES } from '../../src/unit/record-format.ts';

const { DirectoryStore, Keyring, MemoryStore, PlainCache, StoreMeter, Tally, ThreadReader } = netseal;

// Values that an argument of a kind must not have.
const NUMBERS = [-1, -20, 1.5, Number.NaN, Number.NEGATIVE_INFINITY, 2 ** 60, '1', null, {}, 1n];
const BYTES = ['text', 5, null, [1, 2], {}, new ArrayBuffer(4)];
const ID_BYTES = [...BYTES, new Uint8Array(15), new Uint8Array(17), new Uint8Array(0)];
const TEXT = [5, null, {}, [], true];
const ID = [...TEXT, '', 'x', 'G'.repeat(32), 'a'.repeat(31)];
const PATH = [5, null, undefined, {}, [], true, '/a/../b', '/a\0', '\ud800'];
const NAME = [5, null, undefined, {}, [], '', '.', '..', 'a/b', 'a\0', '\u00f6', '\u65e5', 'x'.repeat(256)];
const OBJECT = [5, null, 'text', [], true];
const FLAG = [0, 'yes', null, {}];
const LIST = ['text', 5, null, undefined, {}];
const CALLBACK = [5, 'f', null, {}];
const SIGNAL = [5, 'stop', null, {}];

/** Values for an object: those that are no object, and the object with each field wrong in each way. */
function fields(good: object, wrong: Record<string, readonly unknown[]>): unknown[] {
  return [
    ...OBJECT,
    ...Object.entries(wrong).flatMap(([name, values]) => values.map(value => ({ ...good, [name]: value }))),
  ];
}

/** Values for an object that must be there. */
function needed(good: object, wrong: Record<string, readonly unknown[]>): unknown[] {
  return [undefined, ...fields(good, wrong)];
}

const CALL_OPTIONS = fields({}, { signal: SIGNAL });

/** Good arguments, and for each of them the values that must be refused. */
interface Row {
  readonly good: readonly unknown[];
  readonly wrong: readonly (readonly unknown[])[];
}

const row = (good: readonly unknown[], ...wrong: (readonly unknown[])[]): Row => ({ good, wrong });
/** Takes no argument that could be wrong. */
const NOTHING: Row = { good: [], wrong: [] };

interface Subject {
  readonly target: object;
  readonly rows: Record<string, Row>;
  /** Names that may be called after close, without ECLOSED. */
  readonly afterClose?: readonly string[];
}

const ATTRIBUTES = { mode: 0o644, uid: 0, gid: 0, mtimeNs: 5n, xattrs: [] };
const WRONG_ATTRIBUTES = {
  mode: [...NUMBERS, 0o10000],
  uid: [...NUMBERS, 2 ** 32],
  gid: [...NUMBERS, 2 ** 32],
  mtimeNs: [5, '5', null, 2n ** 63n, -(2n ** 63n) - 1n],
  xattrs: [
    'x',
    {},
    [5],
    [{ key: 5, value: new Uint8Array(1) }],
    [{ key: 'user.a', value: 'x' }],
    [{ key: '', value: new Uint8Array(1) }],
  ],
};
const RAW_KEY = { type: 'raw-key', key: new Uint8Array(32).fill(7) } as const;
const SLOT = { label: 'test', secret: RAW_KEY };
const SECRET = [
  undefined,
  ...OBJECT,
  {},
  { type: 'none' },
  { type: 'passphrase' },
  { type: 'passphrase', passphrase: 5 },
  { type: 'passphrase', passphrase: '' },
  ...BYTES.map(key => ({ type: 'raw-key', key })),
  ...BYTES.map(contents => ({ type: 'key-file', contents })),
  { type: 'callback' },
];
const SLOTS = [
  ...LIST,
  [],
  [null],
  [{}],
  [{ label: 5, secret: RAW_KEY }],
  [{ label: '', secret: RAW_KEY }],
  [{ label: 'x' }],
];
const VOLUME_ID = new Uint8Array(16).fill(1);
const OBJECT_ID = new Uint8Array(16).fill(2);
const TAG = new Uint8Array(16);

function sealedUnit(index: number): { objectId: Uint8Array; index: number; bytes: Uint8Array } {
  const bytes = new Uint8Array(RECORD_OVERHEAD_BYTES);
  const header = { suite: 'xaes-256-gcm', flags: 0, epoch: 1, sealedLengthBytes: bytes.byteLength } as const;
  encodeHeader(new DataView(bytes.buffer), 'unit', header);
  return { objectId: OBJECT_ID, index, bytes };
}

let folder = '';
let subjects: Record<string, Subject> = {};
let functions: Record<string, Row> = {};
let closeAll: () => Promise<void> = async () => undefined;
let storedKeys: () => Promise<string[]> = async () => [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'netseal-arguments-'));
  const store = await DirectoryStore.open(join(folder, 'store'), { create: true });
  const memory = new MemoryStore();
  const wrapped = netseal.wrapStore(new MemoryStore(), { retry: {}, limit: { concurrency: 2 } });
  const state = await netseal.openStateFolder(join(folder, 'state'), 'store');
  const memoryState = netseal.memoryState();
  await netseal.createVolume({ store, slots: [SLOT] });
  const pipeline = await netseal.openPipeline({ workers: 0 });
  const volume = await netseal.openVolume({ store, secrets: RAW_KEY, state, pipeline });
  const writer = await volume.createFile('/f', ATTRIBUTES);
  await writer.write(Buffer.from('content'));
  await writer.commit();
  const reader = await volume.openFile('/f');
  const found = await volume.find('/f');
  const entry = found.entry;
  if (entry === undefined || found.inode.type !== 'file') throw new Error('no file');
  const cache = await netseal.openCache(join(folder, 'cache'), { disk: false }, { key: 'memory' });
  const cacheVolume = cache.volume(VOLUME_ID);
  const plain = new PlainCache(cache, pipeline, 4096);
  const header = await netseal.createVolumeHeader({ slots: [SLOT] });
  const keyring = Keyring.create();
  const keys = pipeline.addKeyring(keyring);
  const lease = await pipeline.reservePlain(64);
  const sealedLease = await pipeline.reserveSealed(64);
  const unitAt = {
    objectId: OBJECT_ID,
    kind: 'unit',
    index: 0,
    unitSizeBytes: 4096,
    offsetBytes: 0,
    lengthBytes: 64,
  };
  const batch = await pipeline.seal({ keys, from: lease, units: [{ ...unitAt, kind: 'unit' }] });
  const unit = sealedUnit(0);
  const get = { objectId: OBJECT_ID, index: 0, expectedTag: TAG, into: new Uint8Array(100) };
  const object = { server: Buffer.from('s'), name: Buffer.from('n'), version: Buffer.from('v') };
  const pin = netseal.pinOf(header);
  const place = { directory: volume.root, name: 'f' };
  const child = volume.names.newDirectory(ATTRIBUTES, volume.root.id);
  const record = { epoch: 1, kind: 'unit', suite: 'xaes-256-gcm', objectId: OBJECT_ID };
  const wrongUnitAt = {
    objectId: ID_BYTES,
    kind: [...TEXT, 'none'],
    index: NUMBERS,
    unitSizeBytes: [...NUMBERS, 4097, 2 ** 25],
    offsetBytes: [...NUMBERS, 1000],
    lengthBytes: [...NUMBERS, 1000],
  };
  const units = (wrong: readonly unknown[]): unknown[] => [...LIST, ...wrong.map(value => [value])];
  const sealing = { keys, from: lease, units: [unitAt] };
  const wrongCodec = fields(
    { codec: 'zstd', level: 1 },
    { codec: [...TEXT, 'none'], level: [...NUMBERS, 0, 20] },
  );
  const wrongSealing = {
    suite: [...TEXT, 'none'],
    codec: wrongCodec,
    blockSizeBytes: [...NUMBERS, 0, 3, 2 ** 17],
  };
  const wrongKeys = needed({}, { id: [...NUMBERS, 0] });
  const wrongPlain = needed(object, { server: BYTES, name: BYTES, version: [...BYTES, new Uint8Array(0)] });
  const directoryAndName = [needed({}, {}), NAME] as const;
  const pathOptions = fields({}, { follow: FLAG });
  const wrongPlace = needed(place, { directory: OBJECT, name: NAME });
  const stores = {
    get: row(
      ['a'],
      TEXT,
      fields(
        {},
        {
          signal: SIGNAL,
          into: BYTES,
          ifMatch: TEXT,
          range: [...OBJECT, { offsetBytes: 0 }, { offsetBytes: -1, lengthBytes: 1 }],
        },
      ),
    ),
    put: row(
      ['a', []],
      TEXT,
      [...LIST, [5], ['text']],
      fields({}, { signal: SIGNAL, condition: [...OBJECT, {}, { ifAbsent: false }, { ifMatch: 5 }] }),
    ),
    stat: row(['a'], TEXT, CALL_OPTIONS),
    delete: row(['a'], TEXT, CALL_OPTIONS),
    list: row(
      [{ limit: 1 }],
      needed({ limit: 1 }, { limit: [...NUMBERS, 0], prefix: TEXT, after: TEXT, signal: SIGNAL }),
    ),
    now: row([], CALL_OPTIONS),
    close: NOTHING,
  };
  const wrongPin = needed(pin, {
    generation: [1.5, '1'],
    epoch: [1.5, '1'],
    headerHash: ['', 5],
    volumeId: ['', 5],
  });
  const states = {
    pin: NOTHING,
    savePin: row([pin], wrongPin),
    attach: row([header], needed({}, {})),
    journalPath: row(['j'], [...TEXT, '', '../x', 'a/b']),
    flush: NOTHING,
    close: NOTHING,
  };

  subjects = {
    Volume: {
      target: volume,
      afterClose: ['close', 'inodeOf', 'whenDurable', 'flushContent', 'openPutJournal', 'openGetJournal'],
      rows: {
        find: row(['/f'], PATH, pathOptions),
        place: row(['/f'], [...PATH, '/'], fields({}, { forFolder: FLAG })),
        inodeOf: row([entry], needed({}, {})),
        directoryById: row([volume.root.id], ID),
        directory: row(['/'], PATH),
        openFile: row(['/f'], PATH, pathOptions),
        reader: row([found.inode, found], needed({}, {}), OBJECT),
        createFile: row(
          ['/g', ATTRIBUTES],
          [...PATH, '/'],
          needed(ATTRIBUTES, WRONG_ATTRIBUTES),
          fields({}, { replace: FLAG, unitSizeBytes: [...NUMBERS, 0, 4097, 2 ** 25] }),
        ),
        openWriter: row(['/f'], PATH),
        writer: row([found.inode, { ...place, id: found.inode.id }], needed({}, {}), needed({}, {}), OBJECT),
        upload: row([found.inode], needed({}, {})),
        reserveSmall: row([1], [...NUMBERS, 0], SIGNAL),
        readSmallFiles: row([[]], LIST, SIGNAL),
        whenDurable: row([[]], [5, 'text', null, undefined, {}]),
        flushContent: NOTHING,
        openPutJournal: NOTHING,
        openGetJournal: NOTHING,
        sync: NOTHING,
        close: NOTHING,
      },
    },
    VolumeNames: {
      target: volume.names,
      afterClose: ['newFile', 'newSymlink'],
      rows: {
        find: row([volume.root, 'f'], ...directoryAndName),
        entries: row([volume.root], needed({}, {})),
        newFile: row([ATTRIBUTES], needed(ATTRIBUTES, WRONG_ATTRIBUTES), [...NUMBERS, 0, 4097]),
        newSymlink: row([ATTRIBUTES, Buffer.from('x')], needed(ATTRIBUTES, WRONG_ATTRIBUTES), [
          ...BYTES,
          Buffer.from('a\0'),
        ]),
        newDirectory: row([ATTRIBUTES, volume.root.id], needed(ATTRIBUTES, WRONG_ATTRIBUTES), ID),
        insert: row(
          [volume.root, 'g', found.inode],
          ...directoryAndName,
          needed({}, {}),
          fields({}, { replace: FLAG, segments: [5, 'text', [5]] }),
        ),
        insertNode: row(
          [volume.root, 'g', entry.node],
          ...directoryAndName,
          needed({}, {}),
          fields({}, { replace: FLAG, segments: [5, 'text', [5]] }),
        ),
        insertMany: row(
          [volume.root, []],
          needed({}, {}),
          [...LIST, ...NAME.map(name => [{ name, inode: found.inode, segments: [] }]), [null]],
          fields({}, { replace: FLAG }),
        ),
        insertDirectory: row([volume.root, 'd', child], ...directoryAndName, needed({}, {}), OBJECT),
        unlink: row([volume.root, 'f'], ...directoryAndName),
        rmdir: row([volume.root, 'd'], ...directoryAndName),
        link: row([place, volume.root, 'l'], wrongPlace, ...directoryAndName, fields({}, { replace: FLAG })),
        rename: row([place, { ...place, name: 'h' }], wrongPlace, wrongPlace, fields({}, { replace: FLAG })),
        setAttributes: row(
          [volume.root, entry, { mode: 0o600 }],
          needed({}, {}),
          needed({}, {}),
          needed({}, WRONG_ATTRIBUTES),
        ),
        setDirectoryAttributes: row([volume.root.id, { mode: 0o700 }], ID, needed({}, WRONG_ATTRIBUTES)),
      },
    },
    Directory: {
      target: volume.root,
      rows: {
        read: row(
          [],
          NUMBERS.filter(value => value !== 1.5 && value !== 2 ** 60),
        ),
        find: row(
          ['f'],
          TEXT,
          NUMBERS.filter(value => value !== 1.5 && value !== 2 ** 60),
        ),
        entries: NOTHING,
        apply: row([() => undefined], [...CALLBACK, undefined], OBJECT),
      },
    },
    FileReader: {
      target: reader,
      rows: {
        read: row(
          [new Uint8Array(4), 0],
          [...BYTES, undefined],
          [...NUMBERS, undefined, Number.POSITIVE_INFINITY],
          CALL_OPTIONS,
        ),
        pieces: row([0, 4], [...NUMBERS, undefined], [...NUMBERS, undefined], CALL_OPTIONS),
        groups: row([0, 4], [...NUMBERS, undefined], [...NUMBERS, undefined], CALL_OPTIONS),
      },
    },
    FileWriter: {
      target: writer,
      afterClose: ['close', 'abort'],
      rows: {
        write: row([new Uint8Array(1), 0], [...BYTES, undefined], NUMBERS),
        truncate: row([7], [...NUMBERS, undefined]),
        commit: NOTHING,
        close: NOTHING,
        abort: NOTHING,
      },
    },
    Cache: {
      target: cache,
      afterClose: ['close', 'wipe', 'maintain'],
      rows: {
        volume: row([VOLUME_ID], ID_BYTES),
        appendDirty: row(
          [{ units: [{ ...unit, volumeId: VOLUME_ID }] }],
          needed(
            { units: [] },
            {
              units: [
                ...units([null, {}]),
                [{ ...unit, volumeId: 'x' }],
                [{ ...unit, index: -1, volumeId: VOLUME_ID }],
              ],
              payload: BYTES,
            },
          ),
          CALL_OPTIONS,
        ),
        releaseDirty: row([[]], [5, 'text', null, undefined, {}, [-1], [1.5], ['1']], CALL_OPTIONS),
        markQueued: row([[]], [5, 'text', null, undefined, {}, [-1], [1.5]], FLAG),
        ledger: NOTHING,
        readDirty: row([1, 0, new Uint8Array(1)], NUMBERS, NUMBERS, BYTES),
        listDirty: NOTHING,
        pins: NOTHING,
        incomplete: NOTHING,
        invalidateAll: NOTHING,
        share: NOTHING,
        contents: NOTHING,
        volumeIds: NOTHING,
        contentsByVolume: row([], CALL_OPTIONS),
        objects: row(
          [VOLUME_ID],
          ID_BYTES,
          fields({}, { idStart: [5, 'xyz', null], atOnce: [...NUMBERS, 0], signal: SIGNAL }),
        ),
        units: row(
          [VOLUME_ID, OBJECT_ID],
          ID_BYTES,
          ID_BYTES,
          fields({}, { atOnce: [...NUMBERS, 0], signal: SIGNAL }),
        ),
        discard: row(
          [],
          fields({}, { volumeId: ID_BYTES, objectId: [...ID_BYTES, OBJECT_ID], pinnedToo: FLAG }),
        ),
        verify: row([], fields({}, { repair: FLAG, signal: SIGNAL })),
        flush: row([], CALL_OPTIONS),
        maintain: NOTHING,
        changeKey: row([[SLOT]], [...LIST, [null]]),
        wipe: row([], fields({}, { dirtyToo: FLAG })),
        close: NOTHING,
      },
    },
    CacheVolume: {
      target: cacheVolume,
      afterClose: ['getAny'],
      rows: {
        get: row(
          [[get]],
          units(needed(get, { objectId: ID_BYTES, index: NUMBERS, expectedTag: ID_BYTES, into: BYTES })),
          CALL_OPTIONS,
        ),
        getAny: row([[get], {}], LIST),
        has: row([get], needed(get, { objectId: ID_BYTES, index: NUMBERS, expectedTag: ID_BYTES })),
        prefix: row([OBJECT_ID], ID_BYTES),
        put: row(
          [[unit]],
          units(needed(unit, { objectId: ID_BYTES, index: NUMBERS, bytes: BYTES })),
          CALL_OPTIONS,
        ),
        offer: row([[unit]], units(needed(unit, { objectId: ID_BYTES, index: NUMBERS, bytes: BYTES }))),
        invalidate: row([OBJECT_ID], ID_BYTES, fields({}, { from: NUMBERS, to: NUMBERS })),
        invalidateAll: NOTHING,
        revalidate: row([OBJECT_ID, TAG], ID_BYTES, [...BYTES, new Uint8Array(1025)]),
        setCoherency: row([OBJECT_ID, TAG], ID_BYTES, [...BYTES, new Uint8Array(1025)], FLAG),
        coherency: row([OBJECT_ID], ID_BYTES),
        pin: row([OBJECT_ID], ID_BYTES, fields({}, { unitCount: NUMBERS })),
        unpin: row([OBJECT_ID], ID_BYTES),
        pinPrefix: row([TAG], [...BYTES, new Uint8Array(4097)]),
        unpinPrefix: row([TAG], BYTES),
        setCookie: row(
          [OBJECT_ID, { key: TAG }],
          ID_BYTES,
          needed(
            { key: TAG },
            { key: [...BYTES, new Uint8Array(0), new Uint8Array(4097)], unitCount: NUMBERS },
          ),
        ),
        cookie: row([OBJECT_ID], ID_BYTES),
        removeCookie: row([OBJECT_ID], ID_BYTES),
        cookies: NOTHING,
        setShare: row([1], [...NUMBERS.filter(value => value !== 1.5 && value !== 2 ** 60), 0]),
      },
    },
    PlainCache: {
      target: plain,
      afterClose: ['close', 'pinPrefix', 'unpinPrefix'],
      rows: {
        name: row([object], [...wrongPlain, ...NUMBERS.map(lengthBytes => ({ ...object, lengthBytes }))]),
        pinPrefix: row([TAG, TAG], BYTES, BYTES),
        unpinPrefix: row([TAG, TAG], BYTES, BYTES),
        put: row(
          [object, [{ index: 0, bytes: new Uint8Array(1) }]],
          wrongPlain,
          units(
            needed({ index: 0, bytes: TAG }, { index: NUMBERS, bytes: [...BYTES, new Uint8Array(4097)] }),
          ),
          CALL_OPTIONS,
        ),
        get: row([object, [0]], wrongPlain, [...LIST, ...NUMBERS.map(index => [index])], CALL_OPTIONS),
        invalidate: row([object], wrongPlain),
        close: NOTHING,
      },
    },
    ThreadReader: {
      target: new ThreadReader(cache.share()),
      rows: {
        get: row(
          [cacheVolume.prefix(OBJECT_ID), 0, TAG, new Uint8Array(100)],
          needed({}, {}).slice(0, 4),
          NUMBERS,
          ID_BYTES,
          BYTES,
        ),
      },
    },
    Pipeline: {
      target: pipeline,
      afterClose: ['close', 'removeKeyring'],
      rows: {
        addKeyring: row([keyring], needed({}, {})),
        keyCommitment: row(
          [keys, record],
          wrongKeys,
          needed(record, {
            epoch: NUMBERS,
            kind: [...TEXT, 'none'],
            suite: [...TEXT, 'none'],
            objectId: ID_BYTES,
          }),
        ),
        removeKeyring: row([{ ...keys, id: keys.id + 1_000_000 }], wrongKeys),
        reservePlain: row([1], [...NUMBERS, 0], CALL_OPTIONS),
        reserveSealed: row([1], [...NUMBERS, 0], CALL_OPTIONS),
        seal: row(
          [sealing],
          needed(sealing, {
            keys: wrongKeys,
            from: [...OBJECT, {}, sealedLease],
            units: units([null, {}, ...fields(unitAt, wrongUnitAt)]),
            holes: FLAG,
            ...wrongSealing,
          }),
          CALL_OPTIONS,
        ),
        open: row(
          [{ ...sealing, from: sealedLease }],
          needed(
            { ...sealing, from: sealedLease },
            {
              keys: wrongKeys,
              from: [...OBJECT, {}, lease],
              units: units([
                null,
                {},
                ...fields(unitAt, { ...wrongUnitAt, expectedTag: ID_BYTES, plainBytesMax: [...NUMBERS, 0] }),
              ]),
            },
          ),
          CALL_OPTIONS,
        ),
        close: row(
          [],
          NUMBERS.filter(value => value !== 1.5 && value !== 2 ** 60),
        ),
      },
    },
    Lease: { target: lease, rows: { isOf: NOTHING, hold: NOTHING, keepOnly: NOTHING, release: NOTHING } },
    ResultBatch: { target: batch, rows: { hold: NOTHING, release: NOTHING } },
    VolumeHeader: {
      target: header,
      rows: {
        addSlot: row(
          [SLOT],
          [...OBJECT, {}, { label: 5, secret: RAW_KEY }, ...SECRET.map(secret => ({ label: 'x', secret }))],
        ),
        removeSlot: row(['x'], [...TEXT, 'none']),
        withSettings: row([TAG], [...BYTES, new Uint8Array(4097)]),
        rekey: row([RAW_KEY], SECRET, fields({}, { slotIds: ['x', 5, null, [5], ['none']] })),
      },
    },
    Keyring: { target: keyring, rows: { epochKey: row([1], NUMBERS), destroy: NOTHING } },
    DirectoryStore: { target: store, rows: { ...stores, removeLeftovers: NOTHING } },
    MemoryStore: { target: memory, rows: stores },
    ForwardingStore: { target: wrapped, rows: stores },
    StoreMeter: {
      target: new StoreMeter(),
      rows: { wrap: row([memory], needed({}, {})), snapshot: NOTHING, resetRoundTrips: NOTHING },
    },
    Tally: {
      target: new Tally(),
      rows: {
        progress: NOTHING,
        fail: NOTHING,
        note: NOTHING,
        begin: NOTHING,
        did: NOTHING,
        resumed: NOTHING,
      },
    },
    MemoryState: {
      target: memoryState,
      afterClose: ['pin', 'journalPath'],
      rows: { ...states, journalPath: NOTHING },
    },
    StateFolder: { target: state, afterClose: ['pin'], rows: states },
  };

  const volumeOptions = { store, secrets: RAW_KEY };
  functions = {
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
          blockSizeBytes: [0, 3, 2 ** 17, 1.5],
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
    sealedBytesMax: row([4096, 4096], NUMBERS, [...NUMBERS, 0, 3]),
    createVolume: row(
      [{ store: new MemoryStore(), slots: [SLOT] }],
      needed(
        { store: new MemoryStore(), slots: [SLOT] },
        {
          store: [undefined, ...OBJECT, {}],
          slots: SLOTS,
          settings: [
            ...OBJECT,
            { unitSizeBytes: 5 },
            { codec: 'zstd' },
            { suite: 5 },
            { blockSizeBytes: -1 },
          ],
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
  };
  storedKeys = async () => (await store.list({ limit: 1000 })).entries.map(({ key }) => key);
  closeAll = async () => {
    plain.close();
    await cache.close();
    await writer.close();
    await volume.close();
    keyring.destroy();
    await pipeline.close();
    await state.close();
    await memoryState.close();
    for (const closed of [store, memory, wrapped]) await closed.close();
  };
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** Calls a function or method, waits for what it returns, and takes the first item of a generator. */
async function outcome(call: () => unknown): Promise<string> {
  try {
    const result = await call();
    if (isGenerator(result)) await result.next();
    return 'no error';
  } catch (error) {
    return codeOf(error) ?? String(error);
  }
}

function isGenerator(value: unknown): value is AsyncGenerator {
  return typeof value === 'object' && value !== null && Symbol.asyncIterator in value && 'next' in value;
}

function methodsOf(target: object): string[] {
  const names = Object.getOwnPropertyNames(Object.getPrototypeOf(target));
  return names.filter(name => {
    const descriptor = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(target), name);
    return name !== 'constructor' && typeof descriptor?.value === 'function';
  });
}

function callMethod(target: object, name: string, given: readonly unknown[]): unknown {
  return Reflect.apply(Reflect.get(target, name), target, given);
}

function callExport(name: string, given: readonly unknown[]): unknown {
  const exported: unknown = Reflect.get(netseal, name);
  if (typeof exported !== 'function') throw new Error(`no function ${name}`);
  return /^class\b/.test(Function.prototype.toString.call(exported))
    ? Reflect.construct(exported, given)
    : Reflect.apply(exported, undefined, given);
}

function shown(value: unknown): string {
  const text = JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'bigint' ? `${inner}n` : inner,
  );
  return (text ?? String(value)).slice(0, 120);
}

/** Calls with each wrong value in its place. Returns the calls that did not end with EINVAL. */
async function notRefused(
  what: string,
  { good, wrong }: Row,
  call: (given: unknown[]) => unknown,
): Promise<string[]> {
  const found: string[] = [];
  for (const [at, values] of wrong.entries()) {
    for (const value of values) {
      const given = Array.from({ length: Math.max(good.length, at + 1) }, (_, position) => good[position]);
      given[at] = value;
      const code = await outcome(() => call(given));
      if (code !== 'EINVAL')
        found.push(`${what}, argument ${at} = ${shown(value)} (${typeof value}): ${code}`);
    }
  }
  return found;
}

it('the table has every exported function, and every method of what they return', () => {
  const exported = Object.entries(netseal).flatMap(([name, value]) =>
    typeof value === 'function' ? [name] : [],
  );
  expect(Object.keys(functions).sort()).toEqual(exported.sort());
  for (const [name, { target, rows }] of Object.entries(subjects)) {
    expect([name, target.constructor.name]).toEqual([name, name]);
    expect([name, ...Object.keys(rows).sort()]).toEqual([name, ...methodsOf(target).sort()]);
  }
});

it('wrong arguments of functions are refused with EINVAL', async () => {
  const found: string[] = [];
  for (const [name, each] of Object.entries(functions)) {
    found.push(...(await notRefused(name, each, given => callExport(name, given))));
  }
  expect(found).toEqual([]);
});

it('wrong arguments of methods are refused with EINVAL, and nothing is changed', async () => {
  const before = await storedKeys();
  const found: string[] = [];
  for (const [name, { target, rows }] of Object.entries(subjects)) {
    for (const [method, each] of Object.entries(rows)) {
      found.push(
        ...(await notRefused(`${name}.${method}`, each, given => callMethod(target, method, given))),
      );
    }
  }
  expect(found).toEqual([]);
  expect(await storedKeys()).toEqual(before);
});

it('a message says which argument is wrong, and shows what was given', async () => {
  const reader = subjects.FileReader?.target ?? {};
  await expect(async () => callMethod(reader, 'read', [new Uint8Array(4), -20])).rejects.toThrow(
    'offsetBytes must be a whole number from 0 to 2^53 - 1, not -20',
  );
  await expect(async () => callMethod(reader, 'read', ['text', 0])).rejects.toThrow(
    'into must be a Uint8Array, not "text"',
  );
});

/** Objects that nothing closes, and methods that may be called at any time. */
const NEVER_CLOSED = ['Lease', 'ResultBatch', 'Tally', 'StoreMeter', 'ThreadReader', 'VolumeHeader'];
const ALWAYS = ['close', 'destroy', 'flush'];

it('calls after close fail with ECLOSED', async () => {
  await closeAll();
  const found: string[] = [];
  for (const [name, { target, rows, afterClose = [] }] of Object.entries(subjects)) {
    const methods = NEVER_CLOSED.includes(name) ? [] : Object.entries(rows);
    for (const [method, { good }] of methods) {
      const isFree = afterClose.includes(method) || (ALWAYS.includes(method) && name !== 'Cache');
      const code = isFree ? 'ECLOSED' : await outcome(() => callMethod(target, method, good));
      if (code !== 'ECLOSED') found.push(`${name}.${method} after close: ${code}`);
    }
  }
  expect(found).toEqual([]);
});
