import { createHash } from 'node:crypto';
import { expect } from 'vitest';
import { isNetsealError } from '../../src/base/errors.ts';
import type { Argon2Cost, Argon2Parameters, Argon2Provider } from '../../src/keys/argon2.ts';
import type { NewSlot } from '../../src/keys/new-slot.ts';
import type {
  CallbackSecret,
  KeyFileSecret,
  NewSecret,
  PassphraseSecret,
  RawKeySecret,
} from '../../src/keys/secret.ts';

/** Stands in for Argon2 where its cost is not what a test is about; counts its calls and remembers what it saw. */
export class QuickArgon2 implements Argon2Provider {
  readonly name: string = 'quick';
  readonly calls: { passphrase: Uint8Array; parameters: Argon2Parameters; output: Uint8Array }[] = [];

  async derive(passphrase: Uint8Array, parameters: Argon2Parameters): Promise<Uint8Array> {
    const { memoryKiB, passes, lanes, salt } = parameters;
    const hash = createHash('sha256').update(passphrase).update(salt);
    const output = new Uint8Array(hash.update(`${memoryKiB} ${passes} ${lanes}`).digest());
    this.calls.push({ passphrase, parameters, output });
    return output;
  }
}

export const WEAK_COST: Argon2Cost = { memoryKiB: 64, passes: 1, lanes: 2 };

export function rawKey(fill: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(32).fill(fill);
}

export function rawSecret(fill: number): RawKeySecret {
  return { type: 'raw-key', key: rawKey(fill) };
}

export function slotOf(secret: NewSecret, label: string = secret.type): NewSlot {
  return { label, secret };
}

/** One secret of every type; the callback knows one blob. */
export function everySecret(): {
  passphrase: PassphraseSecret;
  keyFile: KeyFileSecret;
  rawKey: RawKeySecret;
  callback: CallbackSecret & { provider: string; blob: Uint8Array };
} {
  return {
    passphrase: { type: 'passphrase', passphrase: 'correct horse' },
    keyFile: { type: 'key-file', contents: new Uint8Array(100).fill(7) },
    rawKey: rawSecret(9),
    callback: {
      type: 'callback',
      provider: 'test-kms',
      blob: Uint8Array.of(1, 2, 3),
      callback: async ({ provider, blob }) => (provider === 'test-kms' && blob[0] === 1 ? rawKey(11) : null),
    },
  };
}

/** The code that `action` fails with; fails the test when it does not fail, or not with a NetsealError. */
export async function codeOf(action: () => unknown): Promise<string> {
  try {
    await action();
  } catch (error) {
    if (!isNetsealError(error)) throw error;
    return error.code;
  }
  return expect.unreachable('it should have failed');
}
