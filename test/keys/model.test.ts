/**
 * Random sequences of every operation, held against a model that is a list of secrets. Each run prints its seed when it
 * fails; `NETSEAL_SEED` replays it.
 */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { toHex } from '../../src/base/bytes.ts';
import { checkPin, pinOf } from '../../src/keys/pin.ts';
import type { NewSecret } from '../../src/keys/secret.ts';
import { createVolumeHeader, unlockVolumeHeader } from '../../src/keys/unlock.ts';
import type { VolumeHeader } from '../../src/keys/volume-header.ts';
import { SEED, soakSize } from '../support/soak.ts';
import { codeOf, QuickArgon2, rawKey, slotOf } from './helpers.ts';

const argon2 = new QuickArgon2();

/** The secret of a number: its type goes round, and no two numbers share one. */
function secretOf(number: number): NewSecret {
  const key = rawKey(number + 1);
  switch (number % 4) {
    case 0:
      return { type: 'raw-key', key };
    case 1:
      return { type: 'passphrase', passphrase: `passphrase ${number}` };
    case 2:
      return { type: 'key-file', contents: key };
    default:
      return {
        type: 'callback',
        provider: 'model',
        blob: Uint8Array.of(number),
        callback: ({ blob }) => (blob[0] === number ? key : null),
      };
  }
}

interface Model {
  header: VolumeHeader;
  /** The number of each slot's secret, in the header's order. */
  numbers: number[];
  settings: number;
  epochKeys: string[];
}

const operation = fc.oneof(
  fc.record({ kind: fc.constant('add' as const), secret: fc.nat(11) }),
  fc.record({ kind: fc.constant('remove' as const), index: fc.nat(15) }),
  fc.record({ kind: fc.constant('settings' as const), settings: fc.nat(255) }),
  fc.record({
    kind: fc.constant('rekey' as const),
    keep: fc.uniqueArray(fc.nat(11), { minLength: 1, maxLength: 4 }),
  }),
  fc.record({ kind: fc.constant('drop' as const), index: fc.nat(15) }),
  fc.record({ kind: fc.constant('reopen' as const), index: fc.nat(15) }),
);
type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;

async function step(model: Model, operation: Operation): Promise<Model> {
  const { header, numbers } = model;
  switch (operation.kind) {
    case 'add': {
      if (numbers.length === 16) {
        expect(await codeOf(() => header.addSlot(slotOf(secretOf(operation.secret))))).toBe('EINVAL');
        return model;
      }
      const next = await header.addSlot(slotOf(secretOf(operation.secret), `secret ${operation.secret}`));
      return { ...model, header: next, numbers: [...numbers, operation.secret] };
    }
    case 'remove': {
      const index = operation.index % numbers.length;
      const id = header.slots[index]?.id ?? '';
      if (numbers.length === 1) {
        expect(await codeOf(() => header.removeSlot(id))).toBe('EINVAL');
        return model;
      }
      return { ...model, header: header.removeSlot(id), numbers: numbers.toSpliced(index, 1) };
    }
    case 'settings':
      return {
        ...model,
        header: header.withSettings(Uint8Array.of(operation.settings)),
        settings: operation.settings,
      };
    case 'rekey': {
      const secrets = operation.keep.map(secretOf);
      if (operation.keep.some(number => !numbers.includes(number))) {
        expect(await codeOf(() => header.rekey(secrets))).toBe('EKEY');
        return model;
      }
      const next = await header.rekey(secrets);
      const epochKeys = [...model.epochKeys, toHex(next.keyring.epochKey(next.epoch))];
      return {
        ...model,
        header: next,
        epochKeys,
        numbers: numbers.filter(number => operation.keep.includes(number)),
      };
    }
    case 'drop': {
      const { epochs } = header.keyring;
      const at = operation.index % epochs.length;
      const epoch = epochs[at] ?? 0;
      if (epoch === header.epoch) {
        expect(await codeOf(() => header.dropEpochs([epoch]))).toBe('EINVAL');
        return model;
      }
      return { ...model, header: header.dropEpochs([epoch]), epochKeys: model.epochKeys.toSpliced(at, 1) };
    }
    case 'reopen': {
      const number = numbers[operation.index % numbers.length] ?? 0;
      return { ...model, header: await unlockVolumeHeader(header.bytes, secretOf(number), { argon2 }) };
    }
  }
}

async function check(before: Model, after: Model): Promise<void> {
  const { header, numbers } = after;
  expect(header.slots.map(slot => slot.label)).toEqual(numbers.map(number => `secret ${number}`));
  expect([...header.settings]).toEqual([after.settings]);
  expect(new Set(after.epochKeys).size).toBe(after.epochKeys.length);
  for (let number = 0; number < 12; number++) {
    if (!numbers.includes(number)) {
      expect(await codeOf(() => unlockVolumeHeader(header.bytes, secretOf(number), { argon2 }))).toBe('EKEY');
      continue;
    }
    const opened = await unlockVolumeHeader(header.bytes, secretOf(number), { argon2 });
    expect(opened.slots).toEqual(header.slots);
    expect(opened.keyring.epochs.map(epoch => toHex(opened.keyring.epochKey(epoch)))).toEqual(
      after.epochKeys,
    );
  }
  checkPin(pinOf(before.header), header);
  if (header.generation !== before.header.generation) {
    expect(header.generation).toBe(before.header.generation + 1);
    expect(await codeOf(() => checkPin(pinOf(header), before.header))).toBe('EROLLBACK');
  }
}

it('add, remove, settings, rekey, drop and reopen agree with a list of secrets', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { maxLength: 25, size: 'max' }), async operations => {
      const header = await createVolumeHeader({
        slots: [slotOf(secretOf(0), 'secret 0')],
        settings: Uint8Array.of(0),
        argon2,
      });
      let model: Model = {
        header,
        numbers: [0],
        settings: 0,
        epochKeys: [toHex(header.keyring.epochKey(1))],
      };
      for (const next of operations) {
        const before = model;
        model = await step(model, next);
        await check(before, model);
      }
    }),
    { numRuns: soakSize(60, 2000), seed: SEED },
  );
});
