/** A row of a cache's database: its kind, its name, its value, and a change to it. */
import { toHex } from '../../base/bytes.ts';

/** The numbers are on the disk: only add to them. */
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

/** What a row is to become. A change without a value deletes the row. */
export interface RowChange {
  readonly kind: RowKind;
  readonly name: Uint8Array;
  readonly value: Uint8Array | undefined;
}

export interface Row {
  readonly name: Uint8Array;
  readonly value: Uint8Array;
}

/** Names that sort before and after the names of all rows, which are 16 bytes. */
export const BEFORE_ALL_NAMES: Uint8Array = new Uint8Array(0);
export const AFTER_ALL_NAMES: Uint8Array = new Uint8Array(17).fill(0xff);

/** Returns a string that no other row has. */
export function rowKey(kind: RowKind, name: Uint8Array): string {
  return `${kind}/${toHex(name)}`;
}
