import crypto from 'node:crypto';
import { argon2id } from '@noble/hashes/argon2.js';
import { describe, expect, it } from 'vitest';
import { toHex, utf8 } from '../../src/base/bytes.ts';
import {
  ARGON2_COST_DEFAULT,
  type Argon2Provider,
  argon2CostFault,
  argon2CostWeakness,
  nativeArgon2,
  portableArgon2,
  selectArgon2,
} from '../../src/keys/argon2.ts';

const native = nativeArgon2();
const providers: Argon2Provider[] = native === undefined ? [portableArgon2()] : [native, portableArgon2()];
const salt = new Uint8Array(32).fill(2);

// RFC 9106, section 5.3. The vector uses a secret and associated data, which our providers never do, so the
// functions beneath them are held against it, and then the providers against those.
const RFC_TAG = '0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659';

describe('Argon2id', () => {
  it('@noble/hashes gives the tag of RFC 9106', () => {
    const tag = argon2id(new Uint8Array(32).fill(1), new Uint8Array(16).fill(2), {
      m: 32,
      t: 3,
      p: 4,
      dkLen: 32,
      key: new Uint8Array(8).fill(3),
      personalization: new Uint8Array(12).fill(4),
    });
    expect(toHex(tag)).toBe(RFC_TAG);
  });

  it.skipIf(native === undefined)('node:crypto gives the tag of RFC 9106', () => {
    const tag = crypto.argon2Sync('argon2id', {
      message: new Uint8Array(32).fill(1),
      nonce: new Uint8Array(16).fill(2),
      memory: 32,
      passes: 3,
      parallelism: 4,
      tagLength: 32,
      secret: new Uint8Array(8).fill(3),
      associatedData: new Uint8Array(12).fill(4),
    });
    expect(toHex(tag)).toBe(RFC_TAG);
  });

  it.each([
    { memoryKiB: 8, passes: 1, lanes: 1 },
    { memoryKiB: 67, passes: 2, lanes: 3 },
    { memoryKiB: 128, passes: 16, lanes: 16 },
    { memoryKiB: 1024, passes: 3, lanes: 4 },
  ])('all providers agree at $memoryKiB KiB, $passes passes, $lanes lanes', async cost => {
    const { memoryKiB: m, passes: t, lanes: p } = cost;
    const expected = toHex(argon2id('passwörd', salt, { m, t, p, dkLen: 32 }));
    for (const provider of providers) {
      expect(toHex(await provider.derive(utf8('passwörd'), { ...cost, salt }))).toBe(expected);
    }
  });

  it('all providers agree at the default cost', async () => {
    const outputs = new Set<string>();
    for (const provider of providers) {
      outputs.add(toHex(await provider.derive(utf8('secret'), { ...ARGON2_COST_DEFAULT, salt })));
    }
    expect(outputs.size).toBe(1);
  });

  it('the choice is automatic, can be made, and is reported', () => {
    expect(selectArgon2().name).toBe(native === undefined ? 'portable' : 'native');
    expect(selectArgon2('portable').name).toBe('portable');
    const own: Argon2Provider = { name: 'own', derive: async () => new Uint8Array(32) };
    expect(selectArgon2(own)).toBe(own);
    // @ts-expect-error not a provider
    expect(() => selectArgon2('fast')).toThrow(/native or portable/);
  });
});

describe('bounds', () => {
  it.each([
    [{ memoryKiB: 1024 * 1024 + 1, passes: 1, lanes: 1 }, /memory/],
    [{ memoryKiB: 2 ** 32 - 1, passes: 1, lanes: 1 }, /memory/],
    [{ memoryKiB: 7, passes: 1, lanes: 1 }, /memory/],
    [{ memoryKiB: 31, passes: 1, lanes: 4 }, /memory/],
    [{ memoryKiB: Number.NaN, passes: 1, lanes: 1 }, /memory/],
    [{ memoryKiB: 64, passes: 0, lanes: 1 }, /passes/],
    [{ memoryKiB: 64, passes: 17, lanes: 1 }, /passes/],
    [{ memoryKiB: 64, passes: 1, lanes: 0 }, /lanes/],
    [{ memoryKiB: 1024, passes: 1, lanes: 17 }, /lanes/],
    [{ memoryKiB: 1024 * 1024, passes: 5, lanes: 1 }, /times passes/],
  ])('%j is refused', (cost, message) => {
    expect(argon2CostFault(cost)).toMatch(message);
  });

  it.each([
    { memoryKiB: 8, passes: 1, lanes: 1 },
    { memoryKiB: 1024 * 1024, passes: 4, lanes: 16 },
    ARGON2_COST_DEFAULT,
  ])('%j is allowed', cost => {
    expect(argon2CostFault(cost)).toBeUndefined();
  });

  it('new slots must cost something', () => {
    expect(argon2CostWeakness({ memoryKiB: 19 * 1024 - 1, passes: 16, lanes: 1 })).toMatch(/at least/);
    expect(argon2CostWeakness({ memoryKiB: 19 * 1024, passes: 1, lanes: 1 })).toMatch(/at least/);
    expect(argon2CostWeakness({ memoryKiB: 19 * 1024, passes: 2, lanes: 1 })).toBeUndefined();
    expect(argon2CostWeakness({ memoryKiB: 1024 * 1024, passes: 1, lanes: 4 })).toBeUndefined();
    expect(argon2CostWeakness(ARGON2_COST_DEFAULT)).toBeUndefined();
  });
});
