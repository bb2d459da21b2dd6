import { expect, it } from 'vitest';
import { checkPin, type HeaderPin, pinOf } from '../../src/keys/pin.ts';
import { createVolumeHeader, unlockVolumeHeader } from '../../src/keys/unlock.ts';
import { codeOf, rawSecret, slotOf } from './helpers.ts';

const secret = rawSecret(1);

it('a pin lets the same header and later ones pass, also through JSON', async () => {
  const one = await createVolumeHeader({ slots: [slotOf(secret)] });
  const pin: HeaderPin = JSON.parse(JSON.stringify(pinOf(one)));
  expect(pin).toMatchObject({ volumeId: one.volumeId, generation: 1, epoch: 1 });
  checkPin(pin, one);
  checkPin(pin, await unlockVolumeHeader(one.bytes, secret));
  const two = one.withSettings(Uint8Array.of(1));
  checkPin(pin, two);
  const rekeyed = await (await two.rekey(secret)).rekey(secret);
  checkPin(pin, rekeyed);
  checkPin(pin, rekeyed.dropEpochs([2]));
});

it('older, other and forked headers are EROLLBACK', async () => {
  const one = await createVolumeHeader({ slots: [slotOf(secret)] });
  const two = one.withSettings(Uint8Array.of(1));
  const fork = one.withSettings(Uint8Array.of(1));
  const rekeyed = await one.rekey(secret);
  const rekeyedFork = (await one.rekey(secret)).withSettings(Uint8Array.of(1));
  const other = await createVolumeHeader({ slots: [slotOf(secret)] });
  const lateOldEpoch = two.withSettings(Uint8Array.of(2)).withSettings(Uint8Array.of(3));
  for (const [pinned, shown] of [
    [two, one],
    [two, fork],
    [rekeyed, two],
    [rekeyed, lateOldEpoch],
    [rekeyed, rekeyedFork],
    [rekeyed, await rekeyedFork.rekey(secret)],
    [one, other],
    // The header does not show any more that its author knew the pinned key.
    [one, rekeyed.dropEpochs([1])],
  ] as const) {
    expect(await codeOf(() => checkPin(pinOf(pinned), shown))).toBe('EROLLBACK');
  }
});

it('what is not a pin is EINVAL, and never passes', async () => {
  const one = await createVolumeHeader({ slots: [slotOf(secret)] });
  const pin = pinOf(one);
  for (const field of Object.keys(pin)) {
    const broken = { ...pin, [field]: undefined } as unknown as HeaderPin;
    expect(await codeOf(() => checkPin(broken, one))).toBe('EINVAL');
  }
});
