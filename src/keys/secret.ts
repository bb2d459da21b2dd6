/**
 * Secrets, which open slots, and how a secret becomes the 32-byte slot secret of one slot. No function here
 * keeps a secret after it has returned, and no error message contains one.
 */

import { createHash } from 'node:crypto';
import { requireBytes, requireList, requireObject } from '../base/arguments.ts';
import { isAllZero, toHex, utf8 } from '../base/bytes.ts';
import { NetsealError, requireArgument } from '../base/errors.ts';
import { MIB } from '../base/geometry.ts';
import type { Argon2Cost, Argon2Parameters, Argon2Provider } from './argon2.ts';
import type { SlotParameters } from './slot-format.ts';
import { KEY_BYTES } from './tree.ts';

/** The most secrets in one call: as many as a header can have slots. */
export const SECRETS_MAX = 16;
export const PASSPHRASE_BYTES_MAX = 4096;
export const KEY_FILE_BYTES_MIN = 32;
export const KEY_FILE_BYTES_MAX: number = MIB;

/** A passphrase: 1 to 4,096 bytes of UTF-8 after normalisation to NFC, which is done here. */
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
 * What a callback slot says about itself. Nothing of it is authenticated: check `provider`, and treat `blob`
 * as hostile. If your service decrypts what anybody may encrypt, anybody can make a slot that it opens.
 * `docs/SECURITY.md`, "What a slot protects", says what to do about it.
 */
export interface CallbackRequest {
  readonly provider: string;
  /** A copy, which the callback owns. */
  readonly blob: Uint8Array<ArrayBuffer>;
  /** Hexadecimal. */
  readonly slotId: string;
  readonly volumeId: string;
}

/**
 * Asks the application's own key holder, such as a key management service.
 *
 *   - Return 32 secret bytes, always the same ones for the same blob. They stay yours: netseal copies them
 *     and zeroes its copy.
 *   - Return null when the slot is not yours.
 *   - Throw only when you cannot tell, for example when the service is unreachable. The caller gets your
 *     error as it is.
 */
export type KeyCallback = (
  request: CallbackRequest,
) => Uint8Array | null | undefined | Promise<Uint8Array | null | undefined>;

export interface CallbackSecret {
  readonly type: 'callback';
  readonly callback: KeyCallback;
}

/** A secret to unlock a header with. Its bytes stay the caller's. */
export type Secret = PassphraseSecret | KeyFileSecret | RawKeySecret | CallbackSecret;

/**
 * A secret to make a slot from, with the values that the slot stores. A callback is called once, with its own
 * provider (1 to 64 printable ASCII characters without spaces) and blob (at most 1 KiB).
 */
export type NewSecret =
  | (PassphraseSecret & { readonly cost?: Argon2Cost })
  | KeyFileSecret
  | RawKeySecret
  | (CallbackSecret & { readonly provider: string; readonly blob: Uint8Array });

/** Throws EINVAL unless a secret has a form that can open a slot. */
export function checkSecret(secret: Secret): void {
  requireObject('a secret', secret);
  switch (secret.type) {
    case 'passphrase':
      passphraseBytes(secret.passphrase).fill(0);
      return;
    case 'key-file': {
      requireBytes('the contents of a key file', secret.contents);
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
  requireBytes(what, key, KEY_BYTES);
  requireArgument(!isAllZero(key), `${what} must not be all zeros: was it used after being wiped?`);
}

/** Returns one or several secrets as a list. Throws EINVAL unless there are 1 to 16, each of a valid form. */
export function listSecrets(secrets: Secret | readonly Secret[]): readonly Secret[] {
  const isOne = typeof secrets === 'object' && secrets !== null && 'type' in secrets;
  if (!isOne) requireList('secrets', secrets);
  const list: readonly Secret[] = isOne ? [secrets] : [...secrets];
  requireArgument(
    list.length >= 1 && list.length <= SECRETS_MAX,
    `give 1 to ${SECRETS_MAX} secrets, not ${list.length}`,
  );
  for (const secret of list) checkSecret(secret);
  return list;
}

/**
 * Returns the bytes of a passphrase in NFC, so that composed and decomposed accents give the same bytes.
 * Nothing is trimmed or folded. The caller zeroes them.
 */
function passphraseBytes(passphrase: string): Uint8Array<ArrayBuffer> {
  // The message must not show what was given: it may be the secret in another form.
  requireArgument(typeof passphrase === 'string', 'a passphrase must be a string');
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

/** The slot that a secret is tried on. */
export interface SlotPlace {
  readonly id: Uint8Array;
  readonly volumeId: Uint8Array;
}

/**
 * Returns the 32 bytes that a slot's wrapping key is derived from. The caller owns and zeroes them. Undefined
 * when the secret is not for slots of this type, or its callback returns null. The secret must have been
 * checked, and the parameters must be within their bounds.
 *
 * Throws EUNSUPPORTED when Argon2 fails on this machine, EINVAL when a provider or callback does not return
 * 32 bytes.
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

/** Copies 32 bytes that were made for this call, and zeroes the original, which may lie in a shared pool. */
function takeOver(bytes: Uint8Array, source: string): Uint8Array<ArrayBuffer> {
  requireBytes(`what ${source} returns`, bytes, KEY_BYTES);
  const copy = new Uint8Array(bytes);
  bytes.fill(0);
  return copy;
}
