/**
 * Argon2id (RFC 9106, version 0x13) as a passphrase's stretching function: its parameters, their bounds, and the
 * two providers, which agree byte for byte. Node has Argon2 of its own from 24.7; before that `@noble/hashes` does it,
 * about ten times slower.
 */
import crypto from 'node:crypto';
import { NetsealError, requireArgument } from '../base/errors.ts';
import { KEY_BYTES } from './tree.ts';

/** What one derivation costs. */
export interface Argon2Cost {
  /** Memory in KiB; at least 8 a lane. */
  readonly memoryKiB: number;
  /** How often that memory is gone over. */
  readonly passes: number;
  /** How many threads could share the work (RFC 9106 calls it parallelism). */
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
   * Argon2id, version 0x13, without secret or associated data. Resolves to 32 bytes that the caller owns and zeroes; the
   * passphrase's bytes stay the caller's.
   */
  derive(passphrase: Uint8Array, parameters: Argon2Parameters): Promise<Uint8Array>;
}

export const ARGON2_SALT_BYTES = 32;

/** RFC 9106's second recommended option. */
export const ARGON2_COST_DEFAULT: Argon2Cost = { memoryKiB: 64 * 1024, passes: 3, lanes: 4 };

/** What a header may ask for in one slot. */
export const ARGON2_MEMORY_KIB_MAX: number = 1024 * 1024;
export const ARGON2_PASSES_MAX = 16;
export const ARGON2_LANES_MAX = 16;
/**
 * What all slots of a header may ask for together, as memory in KiB times passes: 4 GiB once over. Room for 16 slots at the
 * default cost (3 GiB), and 2 to 6 s (native) or 20 s (portable) for each passphrase tried.
 */
export const ARGON2_WORK_KIB_MAX: number = 4 * 1024 * 1024;
/** What a new slot has to cost at least: OWASP's floor of 19 MiB and two passes, or as much work in one pass. */
export const ARGON2_NEW_MEMORY_KIB_MIN: number = 19 * 1024;
export const ARGON2_NEW_WORK_KIB_MIN: number = 2 * ARGON2_NEW_MEMORY_KIB_MIN;

/** Memory in KiB times passes: what {@link ARGON2_WORK_KIB_MAX} limits. */
export function argon2WorkKiB(cost: Argon2Cost): number {
  return cost.memoryKiB * cost.passes;
}

/** Why a cost is outside RFC 9106 or the bounds above; undefined when it is within them. */
export function argon2CostFault(cost: Argon2Cost): string | undefined {
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

/** Why a cost is too low for a new slot; undefined when it is not. */
export function argon2CostWeakness(cost: Argon2Cost): string | undefined {
  if (cost.memoryKiB < ARGON2_NEW_MEMORY_KIB_MIN || argon2WorkKiB(cost) < ARGON2_NEW_WORK_KIB_MIN) {
    return (
      `a new passphrase slot needs at least ${ARGON2_NEW_MEMORY_KIB_MIN} KiB of Argon2 memory and ` +
      `${ARGON2_NEW_WORK_KIB_MIN} KiB times passes, not ${cost.memoryKiB} KiB with ${cost.passes} passes`
    );
  }
  return undefined;
}

/** `node:crypto`'s Argon2, on a thread of libuv's pool; undefined where this Node has none (before 24.7). */
export function nativeArgon2(): Argon2Provider | undefined {
  // Looked up at run time: a named import would not even load under Node 22.
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

/** `@noble/hashes`' Argon2, on the calling thread, which it yields every 10 ms. */
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
 * The provider that will be used: the given one, or the named one, or by default `native` where this Node has it.
 * Its `name` is the report. EUNSUPPORTED when `native` is asked for and missing.
 */
export function selectArgon2(choice?: Argon2ProviderName | Argon2Provider): Argon2Provider {
  if (typeof choice === 'object') return choice;
  requireArgument(
    choice === undefined || choice === 'native' || choice === 'portable',
    `Argon2 provider must be native or portable, not ${choice}`,
  );
  const native = choice === 'portable' ? undefined : nativeArgon2();
  if (choice === 'native' && native === undefined) {
    throw new NetsealError('EUNSUPPORTED', 'this Node has no Argon2 of its own (24.7 and later do)');
  }
  return native ?? portableArgon2();
}
