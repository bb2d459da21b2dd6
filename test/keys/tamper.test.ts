import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concatBytes, isAllZero, toHex } from '../../src/base/bytes.ts';
import { isNetsealError } from '../../src/base/errors.ts';
import {
  decodeHeader,
  encodeHeader,
  type HeaderFields,
  volumeHeaderLength,
} from '../../src/keys/header-format.ts';
import { epochCommitment } from '../../src/keys/header-seal.ts';
import { inspectVolumeHeader } from '../../src/keys/inspect.ts';
import { checkPin, pinOf } from '../../src/keys/pin.ts';
import { decodeSlot, type Slot } from '../../src/keys/slot-format.ts';
import { deriveCommittedKey } from '../../src/keys/tree.ts';
import { createVolumeHeader, unlockVolumeHeader } from '../../src/keys/unlock.ts';
import type { VolumeHeader } from '../../src/keys/volume-header.ts';
import { codeOf, everySecret, QuickArgon2, rawKey, rawSecret, slotOf } from './helpers.ts';

const argon2 = new QuickArgon2();
const secrets = everySecret();

function changed(
  bytes: Uint8Array,
  change: (copy: Uint8Array, view: DataView) => void,
): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(bytes);
  change(copy, new DataView(copy.buffer));
  return copy;
}

/** What someone who holds an epoch's key can write: any fields, with a right commitment and MAC. */
function forge(fields: HeaderFields, epochKey: Uint8Array): Uint8Array<ArrayBuffer> {
  const { volumeId, epoch } = fields;
  const number = new Uint8Array(4);
  new DataView(number.buffer).setUint32(0, epoch, true);
  const { key } = deriveCommittedKey(epochKey, volumeId, 'header-mac', number);
  const bytes = encodeHeader({ ...fields, epochCommitment: epochCommitment(epochKey, volumeId, epoch) });
  bytes.set(createHmac('sha256', key).update(bytes.subarray(0, -32)).digest(), bytes.byteLength - 32);
  return bytes;
}

function unknownSlot(id: number, body: Uint8Array = new Uint8Array(5).fill(0xaa)): Slot {
  const bytes = concatBytes(
    Uint8Array.of(24 + body.byteLength, 0, 0x39, 0x30, 0, 0, 0, 0),
    new Uint8Array(16).fill(id),
    body,
  );
  return decodeSlot(bytes, 0, bytes.byteLength);
}

async function oneSlot(): Promise<VolumeHeader> {
  return createVolumeHeader({ slots: [slotOf(rawSecret(1))] });
}

describe('damage', () => {
  it('every flipped bit is a named error', async () => {
    const two = await (await oneSlot()).rekey(rawSecret(1));
    const header = await two.addSlot(slotOf(secrets.keyFile));
    const codes = new Map<string, number>();
    for (let bit = 0; bit < header.bytes.byteLength * 8; bit++) {
      const flipped = changed(header.bytes, copy => {
        copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      });
      const code = await codeOf(() => unlockVolumeHeader(flipped, rawSecret(1)));
      codes.set(code, (codes.get(code) ?? 0) + 1);
    }
    expect([...codes.keys()].sort()).toEqual(['EAUTH', 'EFORMAT', 'EKEY', 'ETRUNCATED', 'EUNSUPPORTED']);
  });

  it('every truncation is ETRUNCATED, and anything appended EFORMAT', async () => {
    const { bytes } = await oneSlot();
    for (let length = 0; length < bytes.byteLength; length++) {
      const cut = bytes.subarray(0, length);
      expect(await codeOf(() => unlockVolumeHeader(cut, rawSecret(1)))).toBe('ETRUNCATED');
      expect(volumeHeaderLength(cut)).toBe(length < 16 ? undefined : bytes.byteLength);
    }
    const longer = concatBytes(bytes, Uint8Array.of(0));
    expect(await codeOf(() => unlockVolumeHeader(longer, rawSecret(1)))).toBe('EFORMAT');
    expect(await codeOf(() => inspectVolumeHeader(new Uint8Array(70_000)))).toBe('EFORMAT');
  });

  it('random bytes, and random changes to a header, only ever throw our errors', async () => {
    const header = await createVolumeHeader({
      slots: Object.values(secrets).map(secret => slotOf(secret)),
      argon2,
    });
    const attempt = (bytes: Uint8Array): void => {
      try {
        inspectVolumeHeader(bytes);
      } catch (error) {
        if (!isNetsealError(error)) throw error;
        expect(['EFORMAT', 'ETRUNCATED', 'EUNSUPPORTED']).toContain(error.code);
      }
    };
    const prefix = header.bytes.subarray(0, 8);
    fc.assert(fc.property(fc.uint8Array({ maxLength: 2048 }), attempt), { numRuns: 2000 });
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 80, maxLength: 2048 }), tail => {
        const bytes = concatBytes(prefix, new Uint8Array(4), tail);
        new DataView(bytes.buffer).setUint32(12, bytes.byteLength, true);
        attempt(bytes);
      }),
      { numRuns: 2000 },
    );
    const edits = fc.array(fc.tuple(fc.nat(header.bytes.byteLength - 1), fc.nat(255)), {
      minLength: 1,
      maxLength: 8,
    });
    fc.assert(
      fc.property(edits, list => {
        attempt(changed(header.bytes, copy => list.map(([at, value]) => copy.fill(value, at, at + 1))));
      }),
      { numRuns: 5000 },
    );
  });

  it('what decodes encodes to the same bytes', async () => {
    const header = await createVolumeHeader({
      slots: Object.values(secrets).map(secret => slotOf(secret)),
      argon2,
    });
    const { bytes } = await header.rekey(secrets.rawKey);
    expect(toHex(encodeHeader(decodeHeader(bytes)).subarray(0, -32))).toBe(toHex(bytes.subarray(0, -32)));
  });
});

describe('bounds hold before any work is done', () => {
  const passphrases = ['a', 'b', 'c', 'd'].map(passphrase => ({ type: 'passphrase', passphrase }) as const);

  async function withCost(memoryKiB: number, passes: number, lanes: number): Promise<string> {
    const quick = new QuickArgon2();
    const { bytes } = await createVolumeHeader({
      slots: passphrases.map(secret => slotOf(secret)),
      argon2: quick,
    });
    quick.calls.length = 0;
    const hostile = changed(bytes, (_copy, view) => {
      for (let index = 0; index < 4; index++) {
        const at = 80 + 184 * index + 136;
        view.setUint32(at, memoryKiB, true);
        view.setUint32(at + 4, passes, true);
        view.setUint32(at + 8, lanes, true);
      }
    });
    const code = await codeOf(() => unlockVolumeHeader(hostile, passphrases[0]!, { argon2: quick }));
    return `${code} after ${quick.calls.length} calls`;
  }

  it.each([
    ['a terabyte', 2 ** 30, 1, 1],
    ['more passes than allowed', 64, 17, 1],
    ['more lanes than allowed', 1024, 1, 17],
    ['less than RFC 9106 allows', 7, 1, 1],
    ['no passes', 64, 0, 1],
    ['4 times 1 GiB, twice', 1024 * 1024, 2, 1],
    ['4 GiB and a little together', 262_145, 4, 4],
  ])('%s', async (_name, memoryKiB, passes, lanes) => {
    expect(await withCost(memoryKiB, passes, lanes)).toBe('EFORMAT after 0 calls');
  });

  it('what is just allowed is tried', async () => {
    expect(await withCost(262_144, 4, 4)).toBe('EKEY after 4 calls');
  });

  it('17 slots, no slots, a doubled slot, 256 older epochs, epochs out of order', async () => {
    const { bytes, keyring } = await (await oneSlot()).rekey(rawSecret(1));
    const fields = decodeHeader(bytes);
    const [slot, older] = [fields.slots[0]!, fields.olderEpochs[0]!];
    const newestKey = keyring.epochKey(2);
    const cases: Partial<HeaderFields>[] = [
      { slots: [] },
      { slots: Array.from({ length: 17 }, (_, id) => unknownSlot(id)) },
      { slots: [slot, slot] },
      { slots: [slot, unknownSlot(1), unknownSlot(1)] },
      {
        olderEpochs: Array.from({ length: 256 }, (_, epoch) => ({ ...older, epoch: epoch + 1 })),
        epoch: 1000,
      },
      { olderEpochs: [older, older], epoch: 3 },
      { olderEpochs: [{ ...older, epoch: 2 }] },
      { olderEpochs: [{ ...older, epoch: 0 }] },
      { epoch: 0, olderEpochs: [] },
      { generation: 0 },
      { privatePart: { ...fields.privatePart, sealed: new Uint8Array(16) } },
      { privatePart: { ...fields.privatePart, sealed: new Uint8Array(40 * 256 + 16) } },
    ];
    for (const change of cases) {
      const hostile = forge({ ...fields, ...change }, newestKey);
      expect([change, await codeOf(() => unlockVolumeHeader(hostile, rawSecret(1)))]).toEqual([
        change,
        'EFORMAT',
      ]);
    }
    const generationBeyond = changed(bytes, copy => copy.fill(0xff, 16, 24));
    expect(await codeOf(() => unlockVolumeHeader(generationBeyond, rawSecret(1)))).toBe('EFORMAT');
  });

  it('a later version is EUNSUPPORTED, and an unknown flag is damage', async () => {
    const { bytes } = await oneSlot();
    const later = changed(bytes, copy => copy.fill(2, 4, 5));
    const flagged = changed(bytes, copy => copy.fill(0x80, 11, 12));
    expect(await codeOf(() => unlockVolumeHeader(later, rawSecret(1)))).toBe('EUNSUPPORTED');
    expect(await codeOf(() => unlockVolumeHeader(flagged, rawSecret(1)))).toBe('EFORMAT');
  });

  it('a header is copied before it is awaited on', async () => {
    const { bytes } = await createVolumeHeader({ slots: [slotOf(secrets.callback)] });
    const shared = new Uint8Array(bytes);
    const pending = unlockVolumeHeader(shared, secrets.callback);
    shared.fill(0);
    expect(toHex((await pending).bytes)).toBe(toHex(bytes));
  });
});

describe('slots of other headers', () => {
  it('a slot of another volume does not open this one', async () => {
    const [mine, other] = [await oneSlot(), await oneSlot()];
    const mixed = changed(mine.bytes, copy => copy.set(other.bytes.subarray(80, 216), 80));
    expect(await codeOf(() => unlockVolumeHeader(mixed, rawSecret(1)))).toBe('EKEY');
  });

  it('a removed slot put back is EAUTH, with its own secret and with others', async () => {
    const one = await createVolumeHeader({ slots: [slotOf(rawSecret(1)), slotOf(rawSecret(2))] });
    const two = one.removeSlot(one.slots[1]?.id ?? '');
    const slots = decodeHeader(one.bytes).slots;
    const mixed = encodeHeader({ ...decodeHeader(two.bytes), slots });
    mixed.set(two.bytes.subarray(-32), mixed.byteLength - 32);
    for (const fill of [1, 2])
      expect(await codeOf(() => unlockVolumeHeader(mixed, rawSecret(fill)))).toBe('EAUTH');
  });

  it('a slot from before a rekey does not verify in the header after it', async () => {
    const one = await createVolumeHeader({ slots: [slotOf(rawSecret(1)), slotOf(rawSecret(2))] });
    const two = await one.rekey(rawSecret(1));
    for (const [index, fill] of [
      [0, 1],
      [1, 2],
    ] as const) {
      const mixed = changed(two.bytes, copy =>
        copy.set(one.bytes.subarray(80 + 136 * index, 216 + 136 * index), 80),
      );
      expect(await codeOf(() => unlockVolumeHeader(mixed, rawSecret(fill)))).toBe('EAUTH');
    }
  });

  it('half of a header from before a rekey and half from after it do not verify', async () => {
    const one = await (await oneSlot()).rekey(rawSecret(1));
    const two = one.withSettings(Uint8Array.of(1));
    expect(two.bytes.byteLength).toBe(one.bytes.byteLength);
    for (let cut = 24; cut < one.bytes.byteLength; cut += 4) {
      const torn = changed(two.bytes, copy => copy.set(one.bytes.subarray(cut), cut));
      if (toHex(torn) === toHex(two.bytes) || toHex(torn) === toHex(one.bytes)) continue;
      expect(await codeOf(() => unlockVolumeHeader(torn, rawSecret(1)))).toBe('EAUTH');
    }
  });

  it('a former member cannot present an older epoch as a newer one', async () => {
    const one = await createVolumeHeader({
      slots: [slotOf(rawSecret(1), 'victim'), slotOf(rawSecret(2), 'former')],
    });
    const two = await one.rekey(rawSecret(1));
    const oldKey = (await unlockVolumeHeader(one.bytes, rawSecret(2))).keyring.epochKey(1);
    // With the old key, the victim's old slot and a MAC of their own, they can go on from the old epoch only.
    const oldFields = decodeHeader(one.bytes);
    const sameEpoch = await unlockVolumeHeader(forge({ ...oldFields, generation: 9 }, oldKey), rawSecret(1));
    expect(sameEpoch.epoch).toBe(1);
    expect(await codeOf(() => checkPin(pinOf(two), sameEpoch))).toBe('EROLLBACK');
    const laterEpoch = forge({ ...oldFields, generation: 9, epoch: 3 }, oldKey);
    expect(await codeOf(() => unlockVolumeHeader(laterEpoch, rawSecret(1)))).toBe('EAUTH');
    const newSlots = forge({ ...decodeHeader(two.bytes), generation: 9 }, oldKey);
    expect(await codeOf(() => unlockVolumeHeader(newSlots, rawSecret(1)))).toBe('EAUTH');
  });
});

it("a stranger's header does not pass a pin, even where a callback would open it", async () => {
  // The callback stands for a service that decrypts what anyone may encrypt: it cannot tell whose blob it is given.
  const callback = {
    type: 'callback',
    provider: 'kms',
    callback: ({ blob }: { blob: Uint8Array }) => blob,
  } as const;
  const mine = await createVolumeHeader({ slots: [slotOf({ ...callback, blob: rawKey(1) })] });
  const stranger = await createVolumeHeader({ slots: [slotOf({ ...callback, blob: rawKey(2) })] });
  const opened = await unlockVolumeHeader(stranger.bytes, callback);
  expect(await codeOf(() => checkPin(pinOf(mine), opened))).toBe('EROLLBACK');
  // Claiming the volume's id and the pinned epoch's public commitment needs that epoch's key.
  const { epochCommitment: commitment } = decodeHeader(mine.bytes);
  const two = await stranger.rekey(callback);
  const older = { ...decodeHeader(two.bytes).olderEpochs[0]!, commitment };
  const claimed = forge({ ...decodeHeader(two.bytes), olderEpochs: [older] }, two.keyring.epochKey(2));
  expect(await codeOf(() => unlockVolumeHeader(claimed, callback))).toBe('EAUTH');
});

describe('slot types of a newer netseal', () => {
  async function withUnknown(): Promise<{ header: VolumeHeader; slot: Slot }> {
    const one = await createVolumeHeader({
      slots: [slotOf(rawSecret(1), 'known'), slotOf(rawSecret(2), 'newer')],
    });
    const fields = decodeHeader(one.bytes);
    const slot = unknownSlot(7, new Uint8Array(200).fill(3));
    const bytes = forge({ ...fields, slots: [fields.slots[0]!, slot] }, one.keyring.epochKey(1));
    return { header: await unlockVolumeHeader(bytes, rawSecret(1)), slot };
  }

  it('are skipped, listed, and kept byte for byte by every edit but rekey', async () => {
    const { header, slot } = await withUnknown();
    expect(header.slots[1]).toMatchObject({ type: 'unknown', typeNumber: 0x3039, label: 'newer' });
    const added = await header.addSlot(slotOf(secrets.keyFile));
    const edited = added.withSettings(Uint8Array.of(1)).removeSlot(header.slots[0]?.id ?? '');
    expect(toHex(decodeHeader(edited.bytes).slots[0]?.bytes ?? new Uint8Array(0))).toBe(toHex(slot.bytes));
    expect(await codeOf(() => edited.removeSlot(edited.slots[1]?.id ?? ''))).toBe('EINVAL');
    const rekeyed = await edited.rekey(secrets.keyFile);
    expect(rekeyed.slots.map(({ type }) => type)).toEqual(['key-file']);
  });

  it('are EUNSUPPORTED when nothing else could open, and EKEY when another slot could', async () => {
    const { header, slot } = await withUnknown();
    const slotId = toHex(slot.id);
    expect(await codeOf(() => unlockVolumeHeader(header.bytes, rawSecret(1), { slotId }))).toBe(
      'EUNSUPPORTED',
    );
    const fields = decodeHeader(header.bytes);
    const only = forge({ ...fields, slots: [slot] }, header.keyring.epochKey(1));
    expect(await codeOf(() => unlockVolumeHeader(only, rawSecret(1)))).toBe('EUNSUPPORTED');
    expect(await codeOf(() => unlockVolumeHeader(header.bytes, rawSecret(2)))).toBe('EKEY');
  });

  it('cannot be added, or made of a known slot, without a key', async () => {
    const one = await createVolumeHeader({ slots: [slotOf(rawSecret(1)), slotOf(rawSecret(2))] });
    const renamed = changed(one.bytes, copy => copy.fill(99, 80 + 136 + 2, 80 + 136 + 3));
    expect(inspectVolumeHeader(renamed).slots[1]?.type).toBe('unknown');
    expect(await codeOf(() => unlockVolumeHeader(renamed, rawSecret(1)))).toBe('EAUTH');
    expect(await codeOf(() => unlockVolumeHeader(renamed, rawSecret(2)))).toBe('EKEY');
  });
});

it('the MAC covers the header to its last byte but its own', async () => {
  const { bytes } = await oneSlot();
  expect(isAllZero(bytes.subarray(-32))).toBe(false);
  expect(inspectVolumeHeader(changed(bytes, copy => copy.fill(0, copy.byteLength - 32))).generation).toBe(1);
});
