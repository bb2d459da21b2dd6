/**
 * The slow, readable twin of `src/unit`: it builds a sealed record step by step from the specification and
 * shares no code with `src/unit`. It also builds records that no correct writer makes, for the cases that must
 * fail.
 */
import { cmac, gcm } from '@noble/ciphers/aes.js';
import { xchacha20poly1305 } from '@noble/ciphers/chacha.js';
import { hkdf } from '@noble/hashes/hkdf.js';
import { sha256 } from '@noble/hashes/sha2.js';
import type { Padding } from '../src/unit/padding.ts';

/** Everything that decides the bytes of a record, each field as it goes on the wire. */
export interface HandRecord {
  readonly epochKey: Uint8Array;
  readonly volumeId: Uint8Array;
  readonly objectId: Uint8Array;
  readonly index: number;
  readonly unitSizeLog2: number;
  readonly kind: number;
  readonly suite: number;
  readonly flags: number;
  readonly epoch: number;
  readonly nonce: Uint8Array;
  /** The bytes to encrypt, from the inner header to the padding. */
  readonly plaintext: Uint8Array;
}

/** The fields of the inner header, and the bytes after it. */
export interface HandPlaintext {
  readonly codec: number;
  readonly plainLength: number;
  /** Default: the true length of the payload. */
  readonly payloadLength?: number;
  readonly payload: Uint8Array;
  readonly paddingBytes?: number;
}

export function layOutByHand(parts: HandPlaintext): Buffer {
  const header = Buffer.alloc(16);
  header.writeUInt8(parts.codec, 0);
  header.writeUInt32LE(parts.plainLength, 4);
  header.writeUInt32LE(parts.payloadLength ?? parts.payload.byteLength, 8);
  return Buffer.concat([header, parts.payload, Buffer.alloc(parts.paddingBytes ?? 0)]);
}

/** Record key (32 bytes) ‖ commitment (32 bytes). */
export function deriveByHand(
  record: Pick<HandRecord, 'epochKey' | 'volumeId' | 'objectId' | 'kind' | 'suite'>,
): Uint8Array {
  const info = Buffer.concat([
    Buffer.from('netseal/1/record\0'),
    Buffer.of(record.kind, record.suite),
    record.objectId,
  ]);
  return hkdf(sha256, record.epochKey, record.volumeId, info, 64);
}

export function sealByHand(record: HandRecord): Buffer {
  const header = Buffer.alloc(16);
  header.write('nSrc', 0, 'latin1');
  header.writeUInt8(1, 4);
  header.writeUInt8(record.kind, 5);
  header.writeUInt8(record.suite, 6);
  header.writeUInt8(record.flags, 7);
  header.writeUInt32LE(record.epoch, 8);
  header.writeUInt32LE(16 + 24 + record.plaintext.byteLength + 16, 12);

  const place = Buffer.alloc(16);
  place.writeBigUInt64LE(BigInt(record.index), 0);
  place.writeUInt8(record.unitSizeLog2, 8);
  const associated = Buffer.concat([header, record.volumeId, record.objectId, place]);

  const key = deriveByHand(record).subarray(0, 32);
  const encrypt = record.suite === 1 ? encryptXaes : encryptXchacha;
  return Buffer.concat([header, record.nonce, encrypt(key, record.nonce, associated, record.plaintext)]);
}

function encryptXchacha(
  key: Uint8Array,
  nonce: Uint8Array,
  associated: Uint8Array,
  plaintext: Uint8Array,
): Uint8Array {
  return xchacha20poly1305(key, nonce, associated).encrypt(plaintext);
}

/** XAES-256-GCM in NIST's terms: a key derived by CMAC in counter mode (SP 800-108), then AES-256-GCM. */
function encryptXaes(
  key: Uint8Array,
  nonce: Uint8Array,
  associated: Uint8Array,
  plaintext: Uint8Array,
): Uint8Array {
  const half = (counter: number) =>
    cmac(Buffer.concat([Buffer.of(0, counter, 0x58, 0), nonce.subarray(0, 12)]), key);
  const subkey = Uint8Array.from([...half(1), ...half(2)]);
  return gcm(subkey, nonce.slice(12), associated).encrypt(plaintext);
}

/** Parts of a zstd frame, RFC 8878. */
export interface HandFrame {
  /** Default: the four bytes of a zstd frame's magic. */
  readonly magic?: number;
  /** A byte; undefined makes a single-segment frame. */
  readonly windowDescriptor?: number;
  readonly dictionaryId?: number;
  /** Undefined when the frame has no such field. */
  readonly contentBytes: number | undefined;
  readonly blocks: readonly Uint8Array[];
}

export function zstdFrameByHand(frame: HandFrame): Buffer {
  const magic = Buffer.alloc(4);
  magic.writeUInt32LE(frame.magic ?? 0xfd2fb528);
  const content = Buffer.alloc(frame.contentBytes === undefined ? 0 : 8);
  if (frame.contentBytes !== undefined) content.writeBigUInt64LE(BigInt(frame.contentBytes));
  const descriptor =
    (frame.contentBytes === undefined ? 0 : 3 << 6) |
    (frame.windowDescriptor === undefined ? 1 << 5 : 0) |
    (frame.dictionaryId === undefined ? 0 : 1);
  return Buffer.concat([
    magic,
    Buffer.of(descriptor),
    frame.windowDescriptor === undefined ? Buffer.of() : Buffer.of(frame.windowDescriptor),
    frame.dictionaryId === undefined ? Buffer.of() : Buffer.of(frame.dictionaryId),
    content,
    ...frame.blocks,
  ]);
}

const BLOCK_TYPES = { raw: 0, repeated: 1, compressed: 2, reserved: 3 } as const;

/** A block of a zstd frame. `sizeBytes` stands in its header; for repeated bytes it is the decoded length. */
export function zstdBlockByHand(
  type: keyof typeof BLOCK_TYPES,
  content: Uint8Array,
  last: boolean,
  sizeBytes: number = content.byteLength,
): Buffer {
  const header = Buffer.alloc(3);
  header.writeUIntLE((sizeBytes << 3) | (BLOCK_TYPES[type] << 1) | (last ? 1 : 0), 0, 3);
  return Buffer.concat([header, content]);
}

/**
 * Makes a deflate stream (RFC 1951) from a string of 0 and 1, first bit first. Zeros fill the last byte.
 */
export function deflateBitsByHand(bits: string): Buffer {
  const bytes = bits.match(/.{1,8}/g) ?? [];
  return Buffer.from(bytes.map(byte => Number.parseInt([...byte].reverse().join('').padStart(8, '0'), 2)));
}

/** Words of deflate's fixed code, for {@link deflateBitsByHand}. */
export const FIXED = {
  lastBlock: '110',
  notLastBlock: '010',
  lastBlockOfReservedType: '111',
  literalZero: '00110000',
  /** Copy 258 bytes from one byte back. */
  repeat258: '1100010100000',
  /** Copy 3 bytes from four bytes back. */
  copy3From4Back: '000000100011',
  endOfBlock: '0000000',
} as const;

/** The length of a padded payload, by the formulas of `docs/FORMAT.md`. */
export function padByHand(lengthBytes: number, padding: Padding): number {
  if (padding === 'none') return lengthBytes;
  if (padding === 'padme') return Math.max(256, padmeByHand(lengthBytes));
  return Math.ceil(lengthBytes / padding) * padding;
}

/** Padmé with the names and formulas of the PURB paper. */
function padmeByHand(L: number): number {
  if (L < 2) return L;
  const E = Math.floor(Math.log2(L));
  const S = Math.floor(Math.log2(E)) + 1;
  const lastBits = E - S;
  const bitMask = 2 ** lastBits - 1;
  return Math.floor((L + bitMask) / (bitMask + 1)) * (bitMask + 1);
}
