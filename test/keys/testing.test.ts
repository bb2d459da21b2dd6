import { expect, it } from 'vitest';
import { toHex } from '../../src/base/bytes.ts';
import { randomBytes } from '../../src/base/random.ts';
import { inspectVolumeHeader } from '../../src/keys/inspect.ts';
import { createVolumeHeader, unlockVolumeHeader } from '../../src/keys/unlock.ts';
import { createTestVolumeHeader, seededRandom, unlockTestVolumeHeader } from '../../src/testing.ts';
import { codeOf, rawSecret, slotOf, WEAK_COST } from './helpers.ts';

const secret = rawSecret(1);
const options = { slots: [slotOf(secret)], nowMs: () => 1000 };

it('one seed is one header, and another seed another', async () => {
  const [one, same, other] = [
    await createTestVolumeHeader(seededRandom('a'), options),
    await createTestVolumeHeader(seededRandom('a'), options),
    await createTestVolumeHeader(seededRandom('b'), options),
  ];
  expect(toHex(one.bytes)).toBe(toHex(same.bytes));
  expect(one.volumeId).not.toBe(other.volumeId);
});

it('a seeded stream does not depend on how it is taken', () => {
  const whole = randomBytes(200, seededRandom('x'));
  const random = seededRandom('x');
  const parts = [1, 31, 33, 64, 71].map(length => toHex(randomBytes(length, random)));
  expect(parts.join('')).toBe(toHex(whole));
});

it('a seeded header is refused by the normal unlock before any secret is tried, and so are its descendants', async () => {
  const made = await createTestVolumeHeader(seededRandom('a'), options);
  expect(made.isTest).toBe(true);
  expect(inspectVolumeHeader(made.bytes).isTest).toBe(true);
  const edited = await (await made.addSlot(slotOf(rawSecret(2))))
    .withSettings(Uint8Array.of(1))
    .rekey(secret);
  for (const header of [made, edited]) {
    expect(await codeOf(() => unlockVolumeHeader(header.bytes, secret))).toBe('EUNSUPPORTED');
    expect((await unlockTestVolumeHeader(seededRandom('b'), header.bytes, secret)).isTest).toBe(true);
  }
});

it('the test flag is authenticated', async () => {
  const made = await createTestVolumeHeader(seededRandom('a'), options);
  const unflagged = new Uint8Array(made.bytes);
  unflagged[8] = 0;
  expect(await codeOf(() => unlockVolumeHeader(unflagged, secret))).toBe('EAUTH');
});

it('a real volume that is edited with test randomness has the test flag from then on', async () => {
  const real = await createVolumeHeader(options);
  const opened = await unlockTestVolumeHeader(seededRandom('a'), real.bytes, secret);
  expect(opened.isTest).toBe(false);
  const edited = opened.withSettings(Uint8Array.of(1));
  expect(await codeOf(() => unlockVolumeHeader(edited.bytes, secret))).toBe('EUNSUPPORTED');
});

it('weak Argon2 costs are for tests only', async () => {
  const weak = slotOf({ type: 'passphrase', passphrase: 'x', cost: WEAK_COST });
  expect(await codeOf(() => createVolumeHeader({ slots: [weak] }))).toBe('EINVAL');
  const header = await createTestVolumeHeader(seededRandom('a'), { slots: [weak] });
  expect(header.slots).toMatchObject([{ type: 'passphrase', cost: WEAK_COST }]);
});
