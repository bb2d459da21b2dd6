/**
 * The cryptography of a header, without its slots. All of it is derived from the newest epoch's key:
 *
 *   commitment   = HKDF-SHA256(epoch key, volume id, "netseal/1/epoch" 0x00 epoch:u32), second half
 *   older epochs : each wrapped under purpose "older-epoch", context volume id ‖ epoch:u32 (its own number)
 *   private part : wrapped under purpose "header-private", context volume id ‖ newest epoch:u32
 *   MAC key      = HKDF-SHA256(newest epoch key, volume id, "netseal/1/header-mac" 0x00 epoch:u32),
 *                  first half
 *   MAC          = HMAC-SHA256(MAC key, everything before it)
 *   trace        = HKDF-SHA256(epoch key, volume id, "netseal/1/epoch-trace" 0x00 epoch:u32), first half
 */
import { createHmac } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { equalBytes } from '../base/bytes.ts';
import { messageOf, NetsealError, requireArgument } from '../base/errors.ts';
import type { RandomFill } from '../base/random.ts';
import {
  decodeHeader,
  encodeHeader,
  FLAG_TEST_RANDOMNESS,
  type HeaderFields,
  MAC_BYTES,
  type OlderEpoch,
} from './header-format.ts';
import { Keyring } from './keyring.ts';
import { decodePrivatePart, encodePrivatePart, type PrivatePart } from './private-part.ts';
import { u32Bytes } from './slot.ts';
import { deriveCommittedKey } from './tree.ts';
import { unwrap, type WrapPurpose, wrap } from './wrap.ts';

const NO_BYTES = new Uint8Array(0);

/** Returns the commitment to an epoch's key: 32 bytes, not secret. */
export function epochCommitment(
  epochKey: Uint8Array,
  volumeId: Uint8Array,
  epoch: number,
): Uint8Array<ArrayBuffer> {
  const { key, commitment } = deriveCommittedKey(epochKey, volumeId, 'epoch', u32Bytes(epoch));
  key.fill(0);
  return commitment;
}

/**
 * Returns the trace of an epoch: 32 bytes. Only someone who knows the epoch's key, or can open a later header
 * that has dropped it, knows them. Nothing can be opened with it. The caller owns it.
 */
export function epochTrace(
  epochKey: Uint8Array,
  volumeId: Uint8Array,
  epoch: number,
): Uint8Array<ArrayBuffer> {
  return deriveCommittedKey(epochKey, volumeId, 'epoch-trace', u32Bytes(epoch)).key;
}

function macOf(bytes: Uint8Array, epochKey: Uint8Array, volumeId: Uint8Array, epoch: number): Uint8Array {
  const { key } = deriveCommittedKey(epochKey, volumeId, 'header-mac', u32Bytes(epoch));
  const mac = createHmac('sha256', key)
    .update(bytes.subarray(0, bytes.byteLength - MAC_BYTES))
    .digest();
  key.fill(0);
  return mac;
}

function olderEpochPurpose(volumeId: Uint8Array, epoch: number): WrapPurpose {
  return { purpose: 'older-epoch', context: [volumeId, u32Bytes(epoch)], associatedData: NO_BYTES };
}

function privatePurpose(volumeId: Uint8Array, newestEpoch: number): WrapPurpose {
  return { purpose: 'header-private', context: [volumeId, u32Bytes(newestEpoch)], associatedData: NO_BYTES };
}

/** Wraps every epoch of a keyring but `newestEpoch`, ascending, under that one's key. */
export function wrapOlderEpochs(
  keyring: Keyring,
  newestEpoch: number,
  newestKey: Uint8Array,
  random: RandomFill,
): OlderEpoch[] {
  return keyring.epochs
    .filter(epoch => epoch !== newestEpoch)
    .map(epoch => {
      const key = keyring.epochKey(epoch);
      const { salt, sealed } = wrap(newestKey, olderEpochPurpose(keyring.volumeId, epoch), key, random);
      return { epoch, commitment: epochCommitment(key, keyring.volumeId, epoch), salt, sealed };
    });
}

export interface SealedHeader {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly fields: HeaderFields;
}

/**
 * Makes a whole header: seals its private part and adds its MAC. The caller owns everything returned.
 *
 * The header is opened again before it is returned, as `unlockHeader` would open it with `newestKey`. So a
 * header that cannot be opened never replaces one that can. EINVAL for numbers out of range, EBUG for a
 * header that does not open.
 */
export function sealHeader(
  content: Omit<HeaderFields, 'epochCommitment' | 'privatePart'>,
  privatePart: PrivatePart,
  newestKey: Uint8Array,
  random: RandomFill,
): SealedHeader {
  const { volumeId, epoch, generation, flags, olderEpochs } = content;
  requireArgument(
    (flags === 0 || flags === FLAG_TEST_RANDOMNESS) &&
      generation >= 1 &&
      epoch > (olderEpochs.at(-1)?.epoch ?? 0),
    `volume header: impossible flags ${flags}, generation ${generation} or epoch ${epoch}`,
  );
  const plain = encodePrivatePart(privatePart);
  const sealedPart = wrap(newestKey, privatePurpose(volumeId, epoch), plain, random);
  plain.fill(0);
  const commitment = epochCommitment(newestKey, volumeId, epoch);
  const bytes = encodeHeader({ ...content, epochCommitment: commitment, privatePart: sealedPart });
  bytes.set(macOf(bytes, newestKey, volumeId, epoch), bytes.byteLength - MAC_BYTES);
  return { bytes, fields: readBack(bytes, newestKey, privatePart) };
}

function readBack(bytes: Uint8Array, newestKey: Uint8Array, written: PrivatePart): HeaderFields {
  try {
    const fields = decodeHeader(bytes);
    verifyHeader(bytes, fields, newestKey);
    openKeyring(fields, newestKey).destroy();
    if (!isDeepStrictEqual(openPrivatePart(fields, newestKey), written)) {
      throw new Error('its private part comes back as another');
    }
    return fields;
  } catch (cause) {
    const why = `volume header: one was made that does not open, and is not used: ${messageOf(cause)}`;
    throw new NetsealError('EBUG', why, { cause });
  }
}

/** Throws EAUTH unless the header commits to `newestKey` and its MAC was made with that key. */
export function verifyHeader(bytes: Uint8Array, fields: HeaderFields, newestKey: Uint8Array): void {
  const { volumeId, epoch } = fields;
  if (!equalBytes(epochCommitment(newestKey, volumeId, epoch), fields.epochCommitment)) {
    throw new NetsealError('EAUTH', 'volume header: the slot holds another key than the header commits to');
  }
  if (!equalBytes(macOf(bytes, newestKey, volumeId, epoch), bytes.subarray(bytes.byteLength - MAC_BYTES))) {
    throw new NetsealError('EAUTH', 'volume header: its MAC does not verify; it was damaged or changed');
  }
}

/**
 * Returns a new keyring with the keys of all epochs. The header must have been verified. Throws EAUTH when an
 * older key does not unwrap, or is not the one that the header commits to.
 */
export function openKeyring(fields: HeaderFields, newestKey: Uint8Array): Keyring {
  const { volumeId } = fields;
  const older: [number, Uint8Array][] = [];
  try {
    for (const { epoch, commitment, salt, sealed } of fields.olderEpochs) {
      const key = unwrap(newestKey, olderEpochPurpose(volumeId, epoch), { salt, sealed });
      older.push([epoch, key]);
      if (!equalBytes(epochCommitment(key, volumeId, epoch), commitment)) {
        throw new NetsealError(
          'EAUTH',
          `volume header: the key of epoch ${epoch} is not the one committed to`,
        );
      }
    }
    return new Keyring(volumeId, new Map([...older, [fields.epoch, newestKey]]));
  } finally {
    for (const [, key] of older) key.fill(0);
  }
}

/** Opens the private part of a verified header: labels and settings. Throws EAUTH or EFORMAT. */
export function openPrivatePart(fields: HeaderFields, newestKey: Uint8Array): PrivatePart {
  const plain = unwrap(newestKey, privatePurpose(fields.volumeId, fields.epoch), fields.privatePart);
  try {
    return decodePrivatePart(plain, fields.slots.length);
  } finally {
    plain.fill(0);
  }
}
