/** Values that arguments of each kind must not have, and the rows of tables made of them. */
import type { Attributes, HeaderPin, NewSlot, RawKeySecret } from '../../src/index.ts';
import { encodeHeader, RECORD_OVERHEAD_BYTES } from '../../src/unit/record-format.ts';

// Values that an argument of a kind must not have.
export const NUMBERS: readonly unknown[] = [
  -1,
  -20,
  1.5,
  Number.NaN,
  Number.NEGATIVE_INFINITY,
  2 ** 60,
  '1',
  null,
  {},
  1n,
];
export const BYTES: readonly unknown[] = ['text', 5, null, [1, 2], {}, new ArrayBuffer(4)];
export const ID_BYTES: readonly unknown[] = [
  ...BYTES,
  new Uint8Array(15),
  new Uint8Array(17),
  new Uint8Array(0),
];
export const TEXT: readonly unknown[] = [5, null, {}, [], true];
export const ID: readonly unknown[] = [...TEXT, '', 'x', 'G'.repeat(32), 'a'.repeat(31)];
export const PATH: readonly unknown[] = [5, null, undefined, {}, [], true, '/a/../b', '/a\0', '\ud800'];
export const NAME: readonly unknown[] = [
  5,
  null,
  undefined,
  {},
  [],
  '',
  '.',
  '..',
  'a/b',
  'a\0',
  '\u00f6',
  '\u65e5',
  'x'.repeat(256),
];
export const OBJECT: readonly unknown[] = [5, null, 'text', [], true];
export const FLAG: readonly unknown[] = [0, 'yes', null, {}];
export const LIST: readonly unknown[] = ['text', 5, null, undefined, {}];
export const CALLBACK: readonly unknown[] = [5, 'f', null, {}];
export const SIGNAL: readonly unknown[] = [5, 'stop', null, {}];

/** Values for an object: those that are no object, and the object with each field wrong in each way. */
export function fields(good: object, wrong: Record<string, readonly unknown[]>): unknown[] {
  return [
    ...OBJECT,
    ...Object.entries(wrong).flatMap(([name, values]) => values.map(value => ({ ...good, [name]: value }))),
  ];
}

/** Values for an object that must be there. */
export function needed(good: object, wrong: Record<string, readonly unknown[]>): unknown[] {
  return [undefined, ...fields(good, wrong)];
}

export const CALL_OPTIONS: readonly unknown[] = fields({}, { signal: SIGNAL });

/** Good arguments, and for each of them the values that must be refused. */
export interface Row {
  readonly good: readonly unknown[];
  readonly wrong: readonly (readonly unknown[])[];
}

export const row = (good: readonly unknown[], ...wrong: (readonly unknown[])[]): Row => ({ good, wrong });
/** Takes no argument that could be wrong. */
export const NOTHING: Row = { good: [], wrong: [] };

export const ATTRIBUTES: Attributes = { mode: 0o644, uid: 0, gid: 0, mtimeNs: 5n, xattrs: [] };
export const DEVICE = { type: 'blockDevice', major: 8, minor: 1 } as const;
export const WRONG_ATTRIBUTES: Record<string, readonly unknown[]> = {
  mode: [...NUMBERS, 0o10000],
  uid: [...NUMBERS, 2 ** 32],
  gid: [...NUMBERS, 2 ** 32],
  mtimeNs: [5, '5', null, 2n ** 63n, -(2n ** 63n) - 1n],
  atimeNs: [5, '5', null, 2n ** 63n],
  xattrs: [
    'x',
    {},
    [5],
    [{ key: 5, value: new Uint8Array(1) }],
    [{ key: 'user.a', value: 'x' }],
    [{ key: '', value: new Uint8Array(1) }],
  ],
};
export const RAW_KEY: RawKeySecret = { type: 'raw-key', key: new Uint8Array(32).fill(7) };
export const SLOT: NewSlot = { label: 'test', secret: RAW_KEY };
export const SECRET: readonly unknown[] = [
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
export const SLOTS: readonly unknown[] = [
  ...LIST,
  [],
  [null],
  [{}],
  [{ label: 5, secret: RAW_KEY }],
  [{ label: '', secret: RAW_KEY }],
  [{ label: 'x' }],
];
export const VOLUME_ID: Uint8Array<ArrayBuffer> = new Uint8Array(16).fill(1);
export const OBJECT_ID: Uint8Array<ArrayBuffer> = new Uint8Array(16).fill(2);
export const TAG: Uint8Array<ArrayBuffer> = new Uint8Array(16);

export function sealedUnit(index: number): { objectId: Uint8Array; index: number; bytes: Uint8Array } {
  const bytes = new Uint8Array(RECORD_OVERHEAD_BYTES);
  const header = { suite: 'xaes-256-gcm', flags: 0, epoch: 1, sealedLengthBytes: bytes.byteLength } as const;
  encodeHeader(new DataView(bytes.buffer), 'unit', header);
  return { objectId: OBJECT_ID, index, bytes };
}

export const wrongUnitAt: Record<string, readonly unknown[]> = {
  objectId: ID_BYTES,
  kind: [...TEXT, 'none'],
  index: NUMBERS,
  unitSizeBytes: [...NUMBERS, 4097, 2 ** 25],
  offsetBytes: [...NUMBERS, 1000],
  lengthBytes: [...NUMBERS, 1000],
};
export const units = (wrong: readonly unknown[]): unknown[] => [...LIST, ...wrong.map(value => [value])];
export const wrongCodec: readonly unknown[] = fields(
  { codec: 'zstd', level: 1 },
  { codec: [...TEXT, 'none'], level: [...NUMBERS, 0, 20] },
);
export const wrongSealing: Record<string, readonly unknown[]> = {
  suite: [...TEXT, 'none'],
  codec: wrongCodec,
  padding: [...NUMBERS, 0, 1, 3, 2 ** 17, 'none of these'],
};
export const wrongKeys: readonly unknown[] = needed({}, { id: [...NUMBERS, 0] });

/** Values for a pin. */
export function wrongPins(pin: HeaderPin): unknown[] {
  return needed(pin, {
    generation: [1.5, '1'],
    epoch: [1.5, '1'],
    headerHash: ['', 5],
    volumeId: ['', 5],
  });
}
