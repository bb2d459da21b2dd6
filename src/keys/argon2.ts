/**
 * Argon2id (RFC 9106, version 0x13), which stretches passphrases: its parameters, their bounds, and its two
 * providers, which agree byte for byte. Node has its own Argon2 since 24.7. Before that, `@noble/hashes` does
 * it, about ten times slower.
 */

import crypto from 'node:crypto';
import { requireMethods, requireObject, shownValue } from '../base/arguments.ts';
import { NetsealError, requireArgument } from '../base/errors.ts';
import { KEY_BYTES } from './tree.ts';

/** The cost of one derivation. */
export interface Argon2Cost {
  /** Memory in KiB; at least 8 a lane. */
  readonly memoryKiB: number;
  /** How many times the whole memory is worked through. */
  readonly passes: number;
  /** How many threads could share the work. RFC 9106 calls it the degree of parallelism. */
  readonly lanes: number;
}

export interface Argon2Parameters extends Argon2Cost {
  /** 32 bytes. */
  readonly salt: Uint8Array<ArrayBuffer>;
}

export type Argon2ProviderName = 'native' | 'portable';

export interface Argon2Provider {
  readonly name: string;
  /**
   * Derives 32 bytes by Argon2id, version 0x13, without a secret value and without associated data. The
   * caller owns the result and zeroes it. The passphrase's bytes stay the caller's and are not kept.
   */
  derive(passphrase: Uint8Array, parameters: Argon2Parameters): Promise<Uint8Array>;
}

export const ARGON2_SALT_BYTES = 32;

/** RFC 9106's second recommended option. */
export const ARGON2_COST_DEFAULT: Argon2Cost = { memoryKiB: 64 * 1024, passes: 3, lanes: 4 };

/** The highest cost that one slot of a header may ask for. */
export const ARGON2_MEMORY_KIB_MAX: number = 1024 * 1024;
export const ARGON2_PASSES_MAX = 16;
export const ARGON2_LANES_MAX = 16;
/**
 * The most work that all slots of a header may ask for together: memory in KiB times passes, 4 GiB in one
 * pass. So 16 slots at the default cost fit (3 GiB). Trying one passphrase on all slots takes at most 2 to 6
 * s with the native provider, 20 s with the portable one.
 */
export const ARGON2_WORK_KIB_MAX: number = 4 * 1024 * 1024;
/**
 * The lowest cost of a new slot: 19 MiB and two passes, which is OWASP's minimum, or as much work in fewer
 * passes.
 */
export const ARGON2_NEW_MEMORY_KIB_MIN: number = 19 * 1024;
export const ARGON2_NEW_WORK_KIB_MIN: number = 2 * ARGON2_NEW_MEMORY_KIB_MIN;

/** Returns the work of a derivation: memory in KiB times passes. {@link ARGON2_WORK_KIB_MAX} limits it. */
export function argon2WorkKiB(cost: Argon2Cost): number {
  return cost.memoryKiB * cost.passes;
}

/** Says why a cost is outside RFC 9106 or the bounds above. Undefined when it is within them. */
export function argon2CostFault(cost: Argon2Cost): string | undefined {
  requireObject('an Argon2 cost', cost);
  const { memoryKiB, passes, lanes } = cost;
  if (!Number.isInteger(lanes) || lanes < 1 || lanes > ARGON2_LANES_MAX) {
    return `Argon2 lanes must be 1 to ${ARGON2_LANES_MAX}, not ${lanes}`;
  }
  if (!Number.isInteger(passes) || passes < 1 || passes > ARGON2_PASSES_MAX) {
    return `Argon2 passes must be 1 to ${ARGON2_PASSES_MAX}, not ${passes}`;
  }
  if (!Number.isInteger(memoryKiB) || memoryKiB < 8 * lanes || memoryKiB > ARGON2_MEMORY_KIB_MAX) {
    return `Argon2 memory must be ${8 * lanes} (8 a lane) to ${ARGON2_MEMORY_KIB_MAX} KiB, not ${memoryKiB}`;
  }
  if (argon2WorkKiB(cost) > ARGON2_WORK_KIB_MAX) {
    return `Argon2 memory times passes must be at most ${ARGON2_WORK_KIB_MAX} KiB, not ${argon2WorkKiB(cost)}`;
  }
  return undefined;
}

/** Says why a cost is too low for a new slot. Undefined when it is high enough. */
export function argon2CostWeakness(cost: Argon2Cost): string | undefined {
  if (cost.memoryKiB < ARGON2_NEW_MEMORY_KIB_MIN || argon2WorkKiB(cost) < ARGON2_NEW_WORK_KIB_MIN) {
    return (
      `a new passphrase slot needs at least ${ARGON2_NEW_MEMORY_KIB_MIN} KiB of Argon2 memory and ` +
      `${ARGON2_NEW_WORK_KIB_MIN} KiB times passes, not ${cost.memoryKiB} KiB with ${cost.passes} passes`
    );
  }
  return undefined;
}

/** Returns `node:crypto`'s Argon2, which works on libuv's thread pool. Undefined before Node 24.7. */
export function nativeArgon2(): Argon2Provider | undefined {
  // Looked up when called, because a named import would fail to load under Node 22.
  const { argon2 } = crypto;
  if (typeof argon2 !== 'function') return undefined;
  return {
    name: 'native',
    derive: (passphrase, { memoryKiB, passes, lanes, salt }) =>
      new Promise((resolve, reject) => {
        const options = {
          message: passphrase,
          nonce: salt,
          memory: memoryKiB,
          passes,
          parallelism: lanes,
          tagLength: KEY_BYTES,
        };
        argon2('argon2id', options, (error, derived) => (error === null ? resolve(derived) : reject(error)));
      }),
  };
}

/**
 * Returns the Argon2 of `@noble/hashes`. It works on the calling thread and gives others their turn every 10
 * ms.
 */
export function portableArgon2(): Argon2Provider {
  return {
    name: 'portable',
    async derive(passphrase, { memoryKiB, passes, lanes, salt }) {
      const { argon2idAsync } = await import('@noble/hashes/argon2.js');
      return argon2idAsync(passphrase, salt, { m: memoryKiB, t: passes, p: lanes, dkLen: KEY_BYTES });
    },
  };
}

/**
 * Returns the provider to use: the given one, the named one, or by default `native` where this Node has it
 * and else `portable`. Its `name` says which it is.
 *
 * Throws EUNSUPPORTED when `native` is asked for and missing, EINVAL for another name.
 */
export function selectArgon2(choice?: Argon2ProviderName | Argon2Provider): Argon2Provider {
  if (typeof choice === 'object') {
    requireMethods('argon2', choice, ['derive']);
    return choice;
  }
  requireArgument(
    choice === undefined || choice === 'native' || choice === 'portable',
    `Argon2 provider must be native or portable, not ${shownValue(choice)}`,
  );
  const native = choice === 'portable' ? undefined : nativeArgon2();
  if (choice === 'native' && native === undefined) {
    throw new NetsealError('EUNSUPPORTED', 'this Node has no Argon2 of its own (24.7 and later do)');
  }
  return native ?? portableArgon2();
}
