/** Rows of a cache's database: their kinds, their names, and what is to become of them. */
import { toHex } from '../../base/bytes.ts';

/** The number is on the disk: append only. */
export const ROW_KINDS = {
  setting: 1,
  volume: 2,
  object: 3,
  pin: 4,
  released: 5,
  cookie: 6,
  cookieKey: 7,
  floor: 8,
  pinnedByPrefix: 9,
  durable: 10,
} as const;
export type RowKind = keyof typeof ROW_KINDS;

/** A row as it is to be; without a value it is to go. */
export interface RowToSave {
  readonly kind: RowKind;
  readonly name: Uint8Array;
  readonly value: Uint8Array | undefined;
}

export interface Row {
  readonly name: Uint8Array;
  readonly value: Uint8Array;
}

/** Before and behind the names of all rows. */
export const FIRST_NAME: Uint8Array = new Uint8Array(0);
export const LAST_NAME: Uint8Array = new Uint8Array(17).fill(0xff);

/** One string for each row. */
export function rowKey(kind: RowKind, name: Uint8Array): string {
  return `${kind}/${toHex(name)}`;
}
