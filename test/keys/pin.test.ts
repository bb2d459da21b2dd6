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

it('a pin of an epoch that was dropped lets pass what comes after it, through any number of rekeys', async () => {
  const one = await createVolumeHeader({ slots: [slotOf(secret)] });
  const two = await one.rekey(secret);
  const pins = [pinOf(one), pinOf(two)];
  const dropped = two.dropEpochs([1]);
  for (const pin of pins) checkPin(pin, dropped);
  let last = dropped;
  for (let round = 0; round < 3; round += 1) {
    last = await last.rekey(secret);
    last = last.dropEpochs([last.epoch - 1]).withSettings(Uint8Array.of(round));
    for (const pin of pins) checkPin(pin, last);
    // As it is read from the store.
    last = await unlockVolumeHeader(last.bytes, secret);
    for (const pin of pins) checkPin(pin, last);
    pins.push(pinOf(last));
  }
  expect(last.keyring.epochs).toEqual([5]);
  expect([...last.droppedEpochs.keys()]).toEqual([1, 2, 3, 4]);
  // What came before stays refused.
  for (const old of [one, two, dropped])
    expect(await codeOf(() => checkPin(pinOf(last), old))).toBe('EROLLBACK');
});

it('a stranger cannot pretend to have dropped the pinned epoch', async () => {
  const mine = await createVolumeHeader({ slots: [slotOf(secret)] });
  const strangers = await unlockVolumeHeader(mine.bytes, secret);
  const pin = { ...pinOf(mine), epochTraceHash: '0'.repeat(64) };
  const later = (await strangers.rekey(secret)).dropEpochs([1]);
  // All but the trace is as it should be.
  expect(await codeOf(() => checkPin(pin, later))).toBe('EROLLBACK');
  checkPin(pinOf(mine), later);
});

it('a header remembers the latest 128 epochs that were dropped', async () => {
  let header = await createVolumeHeader({ slots: [slotOf(secret)] });
  const pins: HeaderPin[] = [];
  for (let round = 0; round < 130; round += 1) {
    pins.push(pinOf(header));
    header = await header.rekey(secret);
    header = header.dropEpochs([header.epoch - 1]);
  }
  for (const pin of pins.slice(0, 2)) expect(await codeOf(() => checkPin(pin, header))).toBe('EROLLBACK');
  for (const pin of pins.slice(2)) checkPin(pin, header);
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
