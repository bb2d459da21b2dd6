/**
 * For tests only (`netseal/testing`): the contract of stores ({@link describeStore}), and volumes whose keys,
 * ids and salts come from a seed, so that a test can be replayed byte for byte.
 *
 *   - Every header made here has a flag that says so. The flag is authenticated, and no operation takes it
 *     away.
 *   - The functions for applications refuse such headers, because a seed that is used twice seals two
 *     messages under one key.
 *   - Weak Argon2 costs are allowed here.
 */
import { createHash } from 'node:crypto';
import { utf8, viewOf } from './base/bytes.ts';
import type { RandomFill } from './base/random.ts';
import type { Secret } from './keys/secret.ts';
import { type CreateOptions, headerContext, type UnlockOptions, unlockHeader } from './keys/unlock.ts';
import { createHeader, type VolumeHeader } from './keys/volume-header.ts';

export {
  type ContractOptions,
  describeStore,
  type StoreUnderTest,
  type TestFramework,
} from './server/store-contract.ts';
export type { RandomFill };

/**
 * Returns a source of bytes that depend only on the seed: SHA-256 of the seed's hash and a counter, again and
 * again.
 */
export function seededRandom(seed: string): RandomFill {
  const block = new Uint8Array(36);
  block.set(createHash('sha256').update(utf8(seed)).digest());
  const view = viewOf(block);
  let counter = 0;
  let rest = new Uint8Array(0);
  return target => {
    for (let offset = 0; offset < target.byteLength; ) {
      if (rest.byteLength === 0) {
        view.setUint32(32, counter++, true);
        rest = new Uint8Array(createHash('sha256').update(block).digest());
      }
      const taken = rest.subarray(0, target.byteLength - offset);
      target.set(taken, offset);
      rest = rest.subarray(taken.byteLength);
      offset += taken.byteLength;
    }
  };
}

/** Does what `createVolumeHeader` does, with the given randomness. The header gets the test flag. */
export async function createTestVolumeHeader(
  random: RandomFill,
  options: CreateOptions,
): Promise<VolumeHeader> {
  const { slots, settings = new Uint8Array(0) } = options;
  return createHeader(slots, settings, headerContext(options, { fill: random, isTest: true }));
}

/**
 * Does what `unlockVolumeHeader` does, for headers with and without the test flag. Headers made from the
 * result get the flag.
 */
export async function unlockTestVolumeHeader(
  random: RandomFill,
  bytes: Uint8Array,
  secrets: Secret | readonly Secret[],
  options: UnlockOptions = {},
): Promise<VolumeHeader> {
  return unlockHeader(bytes, secrets, options.slotId, headerContext(options, { fill: random, isTest: true }));
}
