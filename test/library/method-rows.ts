/** The table of methods: of each class that the library gives out, and of each method, what it must refuse. */
import { StoreMeter, Tally, ThreadReader } from '../../src/index.ts';
import type { Objects } from './argument-objects.ts';
import {
  ATTRIBUTES,
  BYTES,
  CALL_OPTIONS,
  CALLBACK,
  DEVICE,
  FLAG,
  fields,
  ID,
  ID_BYTES,
  LIST,
  NAME,
  NOTHING,
  NUMBERS,
  needed,
  OBJECT,
  OBJECT_ID,
  PATH,
  RAW_KEY,
  type Row,
  row,
  SECRET,
  SIGNAL,
  SLOT,
  TAG,
  TEXT,
  units,
  VOLUME_ID,
  WRONG_ATTRIBUTES,
  wrongKeys,
  wrongPins,
  wrongSealing,
  wrongUnitAt,
} from './argument-values.ts';

export interface Subject {
  readonly target: object;
  readonly rows: Record<string, Row>;
  /** Names that may be called after close, without ECLOSED. */
  readonly afterClose?: readonly string[];
}

/** Those of every store. */
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

export function methodRows(objects: Objects): Record<string, Subject> {
  return { ...volumeRows(objects), ...cacheRows(objects), ...pipelineRows(objects), ...storeRows(objects) };
}

function volumeRows({
  volume,
  found,
  inode,
  entry,
  place,
  child,
  reader,
  writer,
  opened,
}: Objects): Record<string, Subject> {
  const directoryAndName = [needed({}, {}), NAME] as const;
  const pathOptions = fields({}, { follow: FLAG });
  const positions = [...NUMBERS.filter(value => value !== -1 && value !== null && value !== 1n), 'text'];
  const transfer = row(
    [new Uint8Array(4), 0, 4, 0],
    [...BYTES, undefined],
    ['text', true, [], -1, 1.5, 5, { offset: 5 }, { length: 5 }, { position: -2 }, { signal: 5 }],
    [-1, 1.5, 5, 'text'],
    positions,
  );
  const wrongPlace = needed(place, { directory: OBJECT, name: NAME });
  return {
    Volume: {
      target: volume,
      afterClose: ['close', 'inodeOf', 'whenDurable', 'flushContent', 'openPutJournal', 'openGetJournal'],
      rows: {
        find: row(['/f'], PATH, pathOptions),
        place: row(['/f'], [...PATH, '/'], fields({}, { forFolder: FLAG })),
        inodeOf: row([entry], needed({}, {})),
        directoryOf: row(
          [volume.root, { name: 'd', node: { kind: 'object', id: volume.root.id, type: 'directory' } }],
          needed({}, {}),
          needed({}, {}),
        ),
        foundDirectory: row([{ inode: { type: 'directory', id: volume.root.id } }], needed({}, {})),
        directory: row(['/'], PATH),
        open: row(
          ['/f', 'r', 0o644],
          PATH,
          [...TEXT, 'x', 'rw'],
          [...NUMBERS, 0o10000],
          fields({}, { unitSizeBytes: [...NUMBERS, 0, 4097, 2 ** 25], signal: SIGNAL }),
        ),
        openFile: row(['/f'], PATH, pathOptions),
        reader: row([inode, found], needed({}, {}), OBJECT),
        createFile: row(
          ['/g', ATTRIBUTES],
          [...PATH, '/'],
          needed(ATTRIBUTES, WRONG_ATTRIBUTES),
          fields({}, { replace: FLAG, unitSizeBytes: [...NUMBERS, 0, 4097, 2 ** 25] }),
        ),
        openWriter: row(['/f'], PATH),
        writer: row([inode, { ...place, id: inode.id }], needed({}, {}), needed({}, {}), OBJECT),
        upload: row([inode], needed({}, {})),
        reserveSmall: row([1], [...NUMBERS, 0], SIGNAL),
        readSmallFiles: row([[]], LIST, SIGNAL),
        whenDurable: row([[]], [5, 'text', null, undefined, {}]),
        flushContent: NOTHING,
        openPutJournal: NOTHING,
        openGetJournal: NOTHING,
        status: row(
          [],
          PATH.filter(value => value !== undefined),
        ),
        flush: row([], CALL_OPTIONS),
        inspect: NOTHING,
        sync: NOTHING,
        close: row([], fields({}, { discard: FLAG })),
      },
    },
    VolumeFile: {
      target: opened,
      afterClose: ['close', 'leave', 'status'],
      rows: {
        // Without a buffer it makes one.
        read: row(transfer.good, ['text', 5, true, []], ...transfer.wrong.slice(1)),
        readv: row([[]], LIST),
        write: row([Buffer.alloc(4)], [5, null, undefined, {}]),
        writev: row([[]], LIST),
        tryRead: row([new Uint8Array(4), 0], BYTES, NUMBERS),
        tryWrite: row([new Uint8Array(4), 0], BYTES, NUMBERS),
        readFile: row([], [5, 'none', { encoding: 'none' }, { signal: 5 }]),
        writeFile: row(['x'], [5, null, undefined, {}], [5, 'none', { encoding: 'none' }, { signal: 5 }]),
        appendFile: row(['x'], [5, null, undefined, {}], [5, 'none', { encoding: 'none' }, { signal: 5 }]),
        stat: row([], [...OBJECT, { bigint: 1 }]),
        utimes: row([1, 2], [null, undefined, {}, 'x', Number.NaN], [null, undefined, {}, 'x', Number.NaN]),
        chmod: row([0o644], [null, undefined, {}, '9', -1]),
        chown: row([0, 0], NUMBERS, NUMBERS),
        truncate: row([7], [...NUMBERS, null], CALL_OPTIONS),
        allocate: row([7], NUMBERS, CALL_OPTIONS),
        punchHole: row([0, 1], NUMBERS, NUMBERS, CALL_OPTIONS),
        zeroRange: row([0, 1], NUMBERS, NUMBERS, CALL_OPTIONS),
        sync: row([], CALL_OPTIONS),
        datasync: row([], CALL_OPTIONS),
        close: row([], CALL_OPTIONS),
        leave: NOTHING,
        discard: NOTHING,
        saveAs: row(['/saved', { replace: true }], PATH, fields({}, { replace: FLAG })),
        status: NOTHING,
        createReadStream: row([], [...OBJECT, { start: -1 }, { end: 'x' }, { encoding: 'none' }]),
        createWriteStream: row([], [...OBJECT, { start: -1 }, { autoClose: 1 }, { encoding: 'none' }]),
        readableWebStream: row([], [...OBJECT, { autoClose: 1 }]),
        writable: row([], [...OBJECT, { start: -1 }]),
        readLines: row([], [...OBJECT, { start: -1 }]),
      },
    },
    VolumeNames: {
      target: volume.names,
      afterClose: ['newDevice', 'newFile', 'newPipe', 'newSymlink'],
      rows: {
        find: row([volume.root, 'f'], ...directoryAndName),
        entries: row([volume.root], needed({}, {})),
        newFile: row([ATTRIBUTES], needed(ATTRIBUTES, WRONG_ATTRIBUTES), [...NUMBERS, 0, 4097]),
        newSymlink: row([ATTRIBUTES, Buffer.from('x')], needed(ATTRIBUTES, WRONG_ATTRIBUTES), [
          ...BYTES,
          Buffer.from('a\0'),
        ]),
        newPipe: row([ATTRIBUTES, 'fifo'], needed(ATTRIBUTES, WRONG_ATTRIBUTES), [...TEXT, 'file', 'FIFO']),
        newDevice: row(
          [ATTRIBUTES, DEVICE],
          needed(ATTRIBUTES, WRONG_ATTRIBUTES),
          needed(DEVICE, {
            type: [...TEXT, 'file', 'fifo'],
            major: [...NUMBERS, 2 ** 32],
            minor: [...NUMBERS, 2 ** 32],
          }),
        ),
        newDirectory: row([ATTRIBUTES, volume.root.id], needed(ATTRIBUTES, WRONG_ATTRIBUTES), ID),
        insert: row(
          [volume.root, 'g', inode],
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
          [...LIST, ...NAME.map(name => [{ name, inode: inode, segments: [] }]), [null]],
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
        setDirectoryAttributes: row(
          [volume.root, { mode: 0o700 }],
          needed({}, {}),
          needed({}, WRONG_ATTRIBUTES),
        ),
      },
    },
    Directory: {
      target: volume.root,
      afterClose: ['applyTo', 'becomeEmbedded', 'becomeObject', 'create', 'leaveHost'],
      rows: {
        applyTo: NOTHING,
        becomeEmbedded: NOTHING,
        becomeObject: NOTHING,
        create: NOTHING,
        leaveHost: NOTHING,
        searchHost: NOTHING,
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
  };
}

function cacheRows({ cache, cacheVolume, plain, object, unit, get }: Objects): Record<string, Subject> {
  const wrongPlain = needed(object, { server: BYTES, name: BYTES, version: [...BYTES, new Uint8Array(0)] });
  return {
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
        drop: row([get], needed(get, { objectId: ID_BYTES, index: NUMBERS, expectedTag: ID_BYTES })),
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
  };
}

function pipelineRows({
  pipeline,
  keyring,
  keys,
  record,
  lease,
  sealedLease,
  unitAt,
  batch,
  header,
}: Objects): Record<string, Subject> {
  const sealing = { keys, from: lease, units: [unitAt] };
  return {
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
        dropEpochs: row([[]], [5, null, undefined, {}, 'x', [1], [2], [1.5], ['x'], [null]]),
        removeSlot: row(['x'], [...TEXT, 'none']),
        withSettings: row([TAG], [...BYTES, new Uint8Array(4097)]),
        rekey: row([RAW_KEY], SECRET, fields({}, { slotIds: ['x', 5, null, [5], ['none']] })),
      },
    },
    Keyring: { target: keyring, rows: { epochKey: row([1], NUMBERS), destroy: NOTHING } },
  };
}

function storeRows({
  store,
  memory,
  wrapped,
  memoryState,
  state,
  pin,
  header,
}: Objects): Record<string, Subject> {
  const states = {
    pin: NOTHING,
    savePin: row([pin], wrongPins(pin)),
    attach: row([header], needed({}, {})),
    journalPath: row(['j'], [...TEXT, '', '../x', 'a/b']),
    flush: NOTHING,
    close: NOTHING,
  };
  return {
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
}
