/** Whatever is accepted for a header opens again: clocks, labels, settings, and the fields of every encoder. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { utf8 } from '../../src/base/bytes.ts';
import { messageOf } from '../../src/base/errors.ts';
import { systemRandom } from '../../src/base/random.ts';
import { decodeHeader } from '../../src/keys/header-format.ts';
import { sealHeader } from '../../src/keys/header-seal.ts';
import {
  decodePrivatePart,
  encodePrivatePart,
  LABEL_BYTES_MAX,
  SETTINGS_BYTES_MAX,
} from '../../src/keys/private-part.ts';
import { createVolumeHeader, unlockVolumeHeader } from '../../src/keys/unlock.ts';
import { checkAsyncProperty } from '../support/property.ts';
import { checkGivesBack } from '../support/wild.ts';
import { codeOf, QuickArgon2, rawSecret, slotOf } from './helpers.ts';

const secret = rawSecret(1);
const argon2 = new QuickArgon2();

describe('the clock', () => {
  it.each([
    ['just before 1970', -1],
    ['long before 1970', -62_135_596_800_000],
    ['of no number', Number.NaN],
    ['at no time', Number.POSITIVE_INFINITY],
    ['after the last date', 8_640_000_000_000_001],
    ['beyond 2^53', 2 ** 60],
  ])('%s makes no header and no slot', async (_, timeMs) => {
    const nowMs = (): number => timeMs;
    expect(await codeOf(() => createVolumeHeader({ slots: [slotOf(secret)], nowMs }))).toBe('EINVAL');
    const good = await createVolumeHeader({ slots: [slotOf(secret)] });
    const opened = await unlockVolumeHeader(good.bytes, secret, { nowMs, argon2 });
    // No slow derivation before the clock is looked at.
    const passphrase = slotOf({ type: 'passphrase', passphrase: 'x' });
    expect(await codeOf(() => opened.addSlot(passphrase))).toBe('EINVAL');
    expect(argon2.calls).toEqual([]);
  });

  it('is named as a date, with what to do', async () => {
    const nowMs = (): number => Date.UTC(1969, 11, 31, 12);
    const message = await createVolumeHeader({ slots: [slotOf(secret)], nowMs }).catch(messageOf);
    expect(message).toMatch(/clock says 1969-12-31T12:00:00\.000Z.*set the clock/);
  });

  it.each([0, 0.75, 1, 1_700_000_000_000, 2 ** 41, 8_640_000_000_000_000])(
    'at %d ms makes slots that say so, in whole ms',
    async timeMs => {
      const made = await createVolumeHeader({ slots: [slotOf(secret)], nowMs: () => timeMs });
      const next = await made.addSlot(slotOf(rawSecret(2), 'second'));
      const opened = await unlockVolumeHeader(next.bytes, secret);
      expect(opened.slots).toEqual(next.slots);
      expect(opened.slots.map(({ createdAtMs }) => createdAtMs)).toEqual([
        Math.floor(timeMs),
        Math.floor(timeMs),
      ]);
    },
  );
});

describe('labels and settings', () => {
  it('at their limits come back; beyond them nothing is made', async () => {
    const lengths = (max: number): fc.Arbitrary<number> =>
      fc.oneof(fc.constantFrom(0, 1, max - 1, max, max + 1, 2 * max), fc.nat(max + 10));
    const values = fc.record({
      label: fc.tuple(fc.constantFrom('a', 'ü', '😀'), lengths(LABEL_BYTES_MAX)),
      settingsBytes: lengths(SETTINGS_BYTES_MAX),
    });
    await checkAsyncProperty(values, async ({ label: [letter, count], settingsBytes }) => {
      const label = letter.repeat(count);
      const settings = new Uint8Array(settingsBytes).fill(7);
      const labelBytes = utf8(label).byteLength;
      const isPossible =
        labelBytes >= 1 && labelBytes <= LABEL_BYTES_MAX && settingsBytes <= SETTINGS_BYTES_MAX;
      const making = createVolumeHeader({ slots: [slotOf(secret, label)], settings });
      if (!isPossible) {
        expect(await codeOf(() => making)).toBe('EINVAL');
        return;
      }
      const opened = await unlockVolumeHeader((await making).bytes, secret);
      expect([opened.slots[0]?.label, opened.settings]).toEqual([label, settings]);
    });
  });
});

const bytes = (lengthBytes: number): fc.Arbitrary<Uint8Array<ArrayBuffer>> =>
  fc.uint8Array({ minLength: lengthBytes, maxLength: lengthBytes }).map(some => new Uint8Array(some));

describe('what encoders of a header accept, decoders give back', () => {
  it('the private part', () => {
    const entry = fc.record({ label: fc.constantFrom('a', 'label'), createdAtMs: fc.maxSafeNat() });
    const parts = fc.record({
      entries: fc.array(entry, { minLength: 1, maxLength: 16 }),
      settings: bytes(20),
      droppedEpochs: fc
        .array(bytes(32), { maxLength: 128 })
        .map(traces => traces.map((trace, at) => ({ epoch: 7 * at + 1, trace }))),
    });
    checkGivesBack(parts, part => decodePrivatePart(encodePrivatePart(part), part.entries.length));
  });

  it('the fields in the clear', async () => {
    const made = await createVolumeHeader({ slots: [slotOf(secret)] });
    const { slots } = decodeHeader(made.bytes);
    const part = {
      entries: [{ label: 'a', createdAtMs: 1 }],
      settings: new Uint8Array(9),
      droppedEpochs: [],
    };
    const key = new Uint8Array(32).fill(5);
    const values = fc.record({
      flags: fc.constantFrom(0, 1),
      generation: fc.maxSafeNat().map(number => Math.max(1, number)),
      volumeId: bytes(16),
      epoch: fc.integer({ min: 1, max: 0xffff_ffff }),
    });
    checkGivesBack(values, value => {
      const sealed = sealHeader({ ...value, slots, olderEpochs: [] }, part, key, systemRandom);
      const { flags, generation, volumeId, epoch } = decodeHeader(sealed.bytes);
      return { flags, generation, volumeId, epoch };
    });
  });
});
