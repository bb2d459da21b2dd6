/**
 * What opens a slot, and the 32-byte slot secret that it becomes for one slot. Nothing here keeps a secret after it
 * returns, and no message holds one.
 */
import { createHash } from 'node:crypto';
import { isAllZero, toHex, utf8 } from '../base/bytes.ts';
import { NetsealError, requireArgument } from '../base/errors.ts';
import { MIB } from '../base/geometry.ts';
import type { Argon2Cost, Argon2Parameters, Argon2Provider } from './argon2.ts';
import type { SlotParameters } from './slot-format.ts';
import { KEY_BYTES } from './tree.ts';

/** As many as a header can have slots. */
export const SECRETS_MAX = 16;
export const PASSPHRASE_BYTES_MAX = 4096;
export const KEY_FILE_BYTES_MIN = 32;
export const KEY_FILE_BYTES_MAX: number = MIB;

/** Not empty, at most 4,096 bytes of UTF-8 in NFC, which it is normalised to. */
export interface PassphraseSecret {
  readonly type: 'passphrase';
  readonly passphrase: string;
}

/** The contents of a file of random bytes: 32 bytes to 1 MiB. */
export interface KeyFileSecret {
  readonly type: 'key-file';
  readonly contents: Uint8Array;
}

/** 32 random bytes. */
export interface RawKeySecret {
  readonly type: 'raw-key';
  readonly key: Uint8Array;
}

/**
 * What a callback slot says of itself, unauthenticated. Check `provider`, and treat `blob` as hostile: if the service decrypts
 * what anyone may encrypt, anyone can make a slot that it opens. `docs/SECURITY.md`, "What a slot protects", says what helps.
 */
export interface CallbackRequest {
  readonly provider: string;
  /** The callback's to keep. */
  readonly blob: Uint8Array<ArrayBuffer>;
  /** Hexadecimal. */
  readonly slotId: string;
  readonly volumeId: string;
}

/**
 * The application's own key holder, such as a key management service. Returns 32 secret bytes, always the same for one
 * blob, or null for "not mine". Throw only when the answer could not be found out (the service is unreachable): it
 * reaches the caller as it is. The returned bytes stay the callback's; netseal copies them and zeroes its copy.
 */
export type KeyCallback = (
  request: CallbackRequest,
) => Uint8Array | null | undefined | Promise<Uint8Array | null | undefined>;

export interface CallbackSecret {
  readonly type: 'callback';
  readonly callback: KeyCallback;
}

/** What to unlock with. Its bytes stay the caller's. */
export type Secret = PassphraseSecret | KeyFileSecret | RawKeySecret | CallbackSecret;

/**
 * What to make a slot from: the same, with what the slot is to store. A callback is called once with its own provider
 * (1 to 64 printable ASCII characters) and blob (at most 1 KiB).
 */
export type NewSecret =
  | (PassphraseSecret & { readonly cost?: Argon2Cost })
  | KeyFileSecret
  | RawKeySecret
  | (CallbackSecret & { readonly provider: string; readonly blob: Uint8Array });

/** Throws EINVAL unless a secret could open a slot at all. */
export function checkSecret(secret: Secret): void {
  switch (secret.type) {
    case 'passphrase':
      passphraseBytes(secret.passphrase).fill(0);
      return;
    case 'key-file': {
      const { byteLength } = secret.contents;
      requireArgument(
        byteLength >= KEY_FILE_BYTES_MIN && byteLength <= KEY_FILE_BYTES_MAX,
        `a key file must hold ${KEY_FILE_BYTES_MIN} bytes to 1 MiB, not ${byteLength} bytes`,
      );
      return;
    }
    case 'raw-key':
      checkKey(secret.key, 'a raw key');
      return;
    case 'callback':
      requireArgument(typeof secret.callback === 'function', 'a callback secret needs a callback');
      return;
    default:
      requireArgument(false, 'a secret must be a passphrase, key-file, raw-key or callback');
  }
}

function checkKey(key: Uint8Array, what: string): void {
  requireArgument(key.byteLength === KEY_BYTES, `${what} must be 32 bytes, not ${key.byteLength}`);
  requireArgument(!isAllZero(key), `${what} must not be all zeros: was it used after being wiped?`);
}

/** One or several secrets as a checked list. EINVAL. */
export function listSecrets(secrets: Secret | readonly Secret[]): readonly Secret[] {
  const list: readonly Secret[] = 'type' in secrets ? [secrets] : [...secrets];
  requireArgument(
    list.length >= 1 && list.length <= SECRETS_MAX,
    `give 1 to ${SECRETS_MAX} secrets, not ${list.length}`,
  );
  for (const secret of list) checkSecret(secret);
  return list;
}

/** A passphrase in NFC, so that composed and decomposed accents are one; nothing is trimmed or folded. */
function passphraseBytes(passphrase: string): Uint8Array<ArrayBuffer> {
  requireArgument(passphrase !== '', 'the passphrase is empty');
  requireArgument(passphrase.isWellFormed(), 'the passphrase holds half a surrogate pair');
  const bytes = utf8(passphrase.normalize('NFC'));
  if (bytes.byteLength > PASSPHRASE_BYTES_MAX) bytes.fill(0);
  requireArgument(
    bytes.byteLength <= PASSPHRASE_BYTES_MAX,
    `the passphrase is longer than ${PASSPHRASE_BYTES_MAX} bytes`,
  );
  return bytes;
}

/** Where a secret is tried: the slot's own clear parts. */
export interface SlotPlace {
  readonly id: Uint8Array;
  readonly volumeId: Uint8Array;
}

/**
 * The 32 bytes that a slot's wrapping key is derived from, which the caller owns and zeroes. Undefined when the secret is
 * not for slots of this type, or its callback declines. Assumes a checked secret and bounded parameters.
 */
export async function secretToSlotSecret(
  secret: Secret,
  parameters: SlotParameters,
  place: SlotPlace,
  argon2: Argon2Provider,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  if (secret.type === 'passphrase' && parameters.type === 'passphrase') {
    const bytes = passphraseBytes(secret.passphrase);
    try {
      return takeOver(await runArgon2(argon2, bytes, parameters.argon2), 'the Argon2 provider');
    } finally {
      bytes.fill(0);
    }
  }
  if (secret.type === 'key-file' && parameters.type === 'key-file') {
    return takeOver(createHash('sha256').update(secret.contents).digest(), 'SHA-256');
  }
  if (secret.type === 'raw-key' && parameters.type === 'raw-key') return new Uint8Array(secret.key);
  if (secret.type === 'callback' && parameters.type === 'callback') {
    const key = await secret.callback({
      provider: parameters.provider,
      blob: new Uint8Array(parameters.blob),
      slotId: toHex(place.id),
      volumeId: toHex(place.volumeId),
    });
    if (key === null || key === undefined) return undefined;
    checkKey(key, 'what a key callback returns');
    return new Uint8Array(key);
  }
  return undefined;
}

async function runArgon2(
  provider: Argon2Provider,
  passphrase: Uint8Array,
  parameters: Argon2Parameters,
): Promise<Uint8Array> {
  try {
    return await provider.derive(passphrase, parameters);
  } catch (cause) {
    const { memoryKiB } = parameters;
    throw new NetsealError('EUNSUPPORTED', `Argon2 (${provider.name}) with ${memoryKiB} KiB failed here`, {
      cause,
    });
  }
}

/** Copies 32 bytes that were made for us, and zeroes the original (it may lie in a pool). */
function takeOver(bytes: Uint8Array, source: string): Uint8Array<ArrayBuffer> {
  requireArgument(bytes.byteLength === KEY_BYTES, `${source} returned ${bytes.byteLength} bytes, not 32`);
  const copy = new Uint8Array(bytes);
  bytes.fill(0);
  return copy;
}
