/**
 * A second reader of volume headers, written from the byte tables alone: @noble only, no code of src/keys, slow and
 * plain. What it and the real one agree on is the format.
 */
import { gcm } from '@noble/ciphers/aes.js';
import { argon2id } from '@noble/hashes/argon2.js';
import { hkdf } from '@noble/hashes/hkdf.js';
import { hmac } from '@noble/hashes/hmac.js';
import { sha256 } from '@noble/hashes/sha2.js';

export interface TwinHeader {
  epoch: number;
  epochKeys: Map<number, Uint8Array>;
  labels: string[];
  settings: Uint8Array;
}

function derive(input: Uint8Array, salt: Uint8Array, info: Uint8Array): Uint8Array {
  return hkdf(sha256, input, salt, info, 64);
}

function label(purpose: string, ...context: Uint8Array[]): Uint8Array {
  return Buffer.concat([Buffer.from(`netseal/1/${purpose}\0`), ...context]);
}

function openGcm(key: Uint8Array, sealed: Uint8Array, associated: Uint8Array): Uint8Array {
  return gcm(key, new Uint8Array(12), associated).decrypt(sealed);
}

function assertEqual(left: Uint8Array, right: Uint8Array, what: string): void {
  if (Buffer.compare(left, right) !== 0) throw new Error(`twin: ${what} differs`);
}

/** Opens the slot at `slotIndex` (a passphrase, key file or raw key slot) with what the user holds. */
export function twinOpen(header: Buffer, slotIndex: number, held: Uint8Array): TwinHeader {
  const volumeId = header.subarray(24, 40);
  const epochBytes = header.subarray(40, 44);
  let offset = 80;
  for (let index = 0; index < slotIndex; index++) offset += header.readUInt16LE(offset);
  const slot = header.subarray(offset, offset + header.readUInt16LE(offset));
  const parameters = slot.subarray(136);
  const type = slot.readUInt16LE(2);
  let slotSecret = held;
  if (type === 2) slotSecret = sha256(held);
  if (type === 1) {
    const [m, t, p] = [0, 4, 8].map(at => parameters.readUInt32LE(at));
    slotSecret = argon2id(held, parameters.subarray(16), { m: m!, t: t!, p: p!, dkLen: 32 });
  }
  const derived = derive(
    slotSecret,
    slot.subarray(24, 56),
    label('slot', volumeId, slot.subarray(8, 24), slot.subarray(2, 4)),
  );
  assertEqual(derived.subarray(32), slot.subarray(56, 88), 'slot commitment');
  const associated = Buffer.concat([volumeId, epochBytes, slot.subarray(0, 24), parameters]);
  return openWith(header, openGcm(derived.subarray(0, 32), slot.subarray(88, 136), associated));
}

function openWith(header: Buffer, newestKey: Uint8Array): TwinHeader {
  const volumeId = header.subarray(24, 40);
  const epochBytes = header.subarray(40, 44);
  const epoch = header.readUInt32LE(40);
  assertEqual(
    derive(newestKey, volumeId, label('epoch', epochBytes)).subarray(32),
    header.subarray(48, 80),
    'epoch commitment',
  );
  const macKey = derive(newestKey, volumeId, label('header-mac', epochBytes)).subarray(0, 32);
  assertEqual(hmac(sha256, macKey, header.subarray(0, -32)), header.subarray(-32), 'MAC');

  const epochKeys = new Map([[epoch, newestKey]]);
  const privateOffset = header.length - 32 - header.readUInt32LE(44);
  for (let index = header.readUInt16LE(6); index > 0; index--) {
    const entry = header.subarray(privateOffset - 116 * index, privateOffset - 116 * (index - 1));
    const number = entry.subarray(0, 4);
    const wrapKey = derive(
      newestKey,
      entry.subarray(36, 68),
      label('older-epoch', volumeId, number),
    ).subarray(0, 32);
    const key = openGcm(wrapKey, entry.subarray(68), new Uint8Array(0));
    const commitment = derive(key, volumeId, label('epoch', number)).subarray(32);
    assertEqual(commitment, entry.subarray(4, 36), `commitment of epoch ${number}`);
    epochKeys.set(entry.readUInt32LE(0), key);
  }

  const privatePart = header.subarray(privateOffset, -32);
  const privateKey = derive(
    newestKey,
    privatePart.subarray(0, 32),
    label('header-private', volumeId, epochBytes),
  ).subarray(0, 32);
  const plain = Buffer.from(openGcm(privateKey, privatePart.subarray(32), new Uint8Array(0)));
  const labels: string[] = [];
  let offset = 8;
  for (let index = 0; index < plain.readUInt16LE(0); index++) {
    const end = offset + 9 + plain.readUInt8(offset + 8);
    labels.push(plain.subarray(offset + 9, end).toString());
    offset = end;
  }
  return { epoch, epochKeys, labels, settings: plain.subarray(offset, offset + plain.readUInt16LE(2)) };
}
