/** Whatever secret passes through an operation is zero afterwards, on success and on failure. */
import { afterEach, expect, it, vi } from 'vitest';
import { isAllZero } from '../../src/base/bytes.ts';

const derived: Uint8Array[] = [];
const drawn: Uint8Array[] = [];

vi.mock('../../src/keys/tree.ts', async importOriginal => {
  const tree = await importOriginal<typeof import('../../src/keys/tree.ts')>();
  const deriveCommittedKey: typeof tree.deriveCommittedKey = (...parts) => {
    const result = tree.deriveCommittedKey(...parts);
    derived.push(result.key);
    return result;
  };
  return { ...tree, deriveCommittedKey };
});

vi.mock('../../src/base/random.ts', async importOriginal => {
  const random = await importOriginal<typeof import('../../src/base/random.ts')>();
  const randomBytes: typeof random.randomBytes = (lengthBytes, fill) => {
    const bytes = random.randomBytes(lengthBytes, fill);
    drawn.push(bytes);
    return bytes;
  };
  return { ...random, randomBytes };
});

const { createVolumeHeader, unlockVolumeHeader } = await import('../../src/keys/unlock.ts');
const { codeOf, everySecret, QuickArgon2, rawSecret, slotOf } = await import('./helpers.ts');

const quick = new QuickArgon2();
const secrets = everySecret();
const slots = Object.values(secrets).map(secret => slotOf(secret));

afterEach(() => {
  derived.length = 0;
  drawn.length = 0;
  quick.calls.length = 0;
});

function expectZeroed(): void {
  expect(derived.length).toBeGreaterThan(0);
  expect(derived.every(isAllZero)).toBe(true);
  for (const { passphrase, output } of quick.calls) expect([passphrase, output].every(isAllZero)).toBe(true);
}

it('create, edit, rekey and unlock zero every derived key, passphrase copy and Argon2 output', async () => {
  const one = await createVolumeHeader({ slots, argon2: quick });
  // Drawn first: the epoch's key. The rest are ids and salts, which are not secret.
  expect(isAllZero(drawn[0] ?? new Uint8Array(1))).toBe(true);
  const two = await one.addSlot(slotOf({ type: 'passphrase', passphrase: 'another' }));
  drawn.length = 0;
  const three = await two.rekey([secrets.passphrase, secrets.keyFile]);
  expect(isAllZero(drawn[0] ?? new Uint8Array(1))).toBe(true);
  await unlockVolumeHeader(three.bytes, secrets.passphrase, { argon2: quick });
  expect(quick.calls.length).toBeGreaterThanOrEqual(4);
  expectZeroed();
});

it('a failed unlock zeroes them, too', async () => {
  const { bytes } = await createVolumeHeader({ slots, argon2: quick });
  const wrong = { type: 'passphrase', passphrase: 'wrong' } as const;
  expect(await codeOf(() => unlockVolumeHeader(bytes, [wrong, rawSecret(99)], { argon2: quick }))).toBe(
    'EKEY',
  );
  const damaged = new Uint8Array(bytes);
  damaged[damaged.byteLength - 1] = (damaged[damaged.byteLength - 1] ?? 0) ^ 1;
  expect(await codeOf(() => unlockVolumeHeader(damaged, secrets.passphrase, { argon2: quick }))).toBe(
    'EAUTH',
  );
  expect(quick.calls.length).toBeGreaterThanOrEqual(2);
  expectZeroed();
});

it("the caller's own bytes are left alone, and destroying the keyring zeroes the epochs", async () => {
  const secret = rawSecret(5);
  const header = await (await createVolumeHeader({ slots: [slotOf(secret)] })).rekey(secret);
  expect(secret).toEqual(rawSecret(5));
  const keys = header.keyring.epochs.map(epoch => header.keyring.epochKey(epoch));
  header.keyring.destroy();
  expect(keys.every(isAllZero)).toBe(true);
});
