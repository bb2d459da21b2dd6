/**
 * The parts of a header that anybody can read without a key. A server can forge them, as nothing
 * authenticates them.
 */
import { toHex } from '../base/bytes.ts';
import type { Argon2Cost } from './argon2.ts';
import { decodeHeader, FLAG_TEST_RANDOMNESS } from './header-format.ts';
import type { Slot } from './slot-format.ts';

/** The parts of a slot that are in the clear. */
export type SlotDescription = { /** Hexadecimal. */ readonly id: string; readonly typeNumber: number } & (
  | { readonly type: 'passphrase'; readonly cost: Argon2Cost }
  | { readonly type: 'key-file' | 'raw-key' }
  | { readonly type: 'callback'; readonly provider: string; readonly blobBytes: number }
  /** A type of a newer netseal. The slot is kept, but cannot be opened here. */
  | { readonly type: 'unknown' }
);

export interface HeaderDescription {
  /** Hexadecimal. */
  readonly volumeId: string;
  readonly generation: number;
  /** Ascending; the last is the newest. */
  readonly epochs: readonly number[];
  readonly slots: readonly SlotDescription[];
  readonly lengthBytes: number;
  /** True when the header was made with test randomness. */
  readonly isTest: boolean;
}

export function describeSlot(slot: Slot): SlotDescription {
  const base = { id: toHex(slot.id), typeNumber: slot.typeNumber };
  switch (slot.type) {
    case 'passphrase': {
      const { memoryKiB, passes, lanes } = slot.argon2;
      return { ...base, type: slot.type, cost: { memoryKiB, passes, lanes } };
    }
    case 'callback':
      return { ...base, type: slot.type, provider: slot.provider, blobBytes: slot.blob.byteLength };
    default:
      return { ...base, type: slot.type };
  }
}

/** Reads the clear parts of one whole header. Throws EFORMAT, ETRUNCATED or EUNSUPPORTED. */
export function inspectVolumeHeader(bytes: Uint8Array): HeaderDescription {
  const fields = decodeHeader(bytes);
  return {
    volumeId: toHex(fields.volumeId),
    generation: fields.generation,
    epochs: [...fields.olderEpochs.map(({ epoch }) => epoch), fields.epoch],
    slots: fields.slots.map(describeSlot),
    lengthBytes: bytes.byteLength,
    isTest: (fields.flags & FLAG_TEST_RANDOMNESS) !== 0,
  };
}
