import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { toHex, utf8 } from '../../src/base/bytes.ts';
import { messageOf } from '../../src/base/errors.ts';
import { inspectVolumeHeader } from '../../src/keys/inspect.ts';
import type { NewSecret } from '../../src/keys/secret.ts';
import { createVolumeHeader, unlockVolumeHeader } from '../../src/keys/unlock.ts';
import { createTestVolumeHeader, seededRandom, unlockTestVolumeHeader } from '../../src/testing.ts';
import { IS_LONG } from '../support/soak.ts';
import { codeOf, everySecret, QuickArgon2, rawKey, rawSecret, slotOf, WEAK_COST } from './helpers.ts';

const argon2 = new QuickArgon2();
const secrets = everySecret();
const everySlot = [secrets.passphrase, secrets.keyFile, secrets.rawKey, secrets.callback].map(secret =>
  slotOf(secret),
);

describe('create and unlock', () => {
  it.each(Object.entries(secrets))('a %s slot opens with its secret', async (_name, secret) => {
    const settings = utf8('unit size 256 KiB');
    const made = await createVolumeHeader({
      slots: [slotOf(secret, 'Büro')],
      settings,
      argon2,
      nowMs: () => 1234,
    });
    const opened = await unlockVolumeHeader(made.bytes, secret, { argon2 });
    expect(toHex(opened.keyring.epochKey(1))).toBe(toHex(made.keyring.epochKey(1)));
    expect(toHex(opened.keyring.volumeId)).toBe(made.volumeId);
    expect(opened.slots).toEqual(made.slots);
    expect(opened.slots).toMatchObject([{ label: 'Büro', createdAtMs: 1234, type: secret.type }]);
    expect(opened.settings).toEqual(settings);
    expect(opened).toMatchObject({
      generation: 1,
      epoch: 1,
      isTest: false,
      openedSlotIds: [made.slots[0]?.id],
    });
    expect(toHex(opened.bytes)).toBe(toHex(made.bytes));
  });

  it('one header has slots of every type, and each opens it', async () => {
    const made = await createVolumeHeader({ slots: everySlot, argon2 });
    for (const [index, secret] of Object.values(secrets).entries()) {
      const opened = await unlockVolumeHeader(made.bytes, secret, { argon2 });
      expect(opened.openedSlotIds).toEqual([made.slots[index]?.id]);
    }
  });

  it('two volumes from one secret share nothing', async () => {
    const [one, two] = [
      await createVolumeHeader({ slots: [slotOf(rawSecret(1))] }),
      await createVolumeHeader({ slots: [slotOf(rawSecret(1))] }),
    ];
    expect(one.volumeId).not.toBe(two.volumeId);
    expect(toHex(one.keyring.epochKey(1))).not.toBe(toHex(two.keyring.epochKey(1)));
    expect(one.slots[0]?.id).not.toBe(two.slots[0]?.id);
  });

  it('both real Argon2 providers open what the other made', async () => {
    const secret = { type: 'passphrase', passphrase: 'pässphrase', cost: WEAK_COST } as const;
    for (const [maker, opener] of [
      [undefined, 'portable'],
      ['portable', undefined],
    ] as const) {
      const random = seededRandom('providers');
      const made = await createTestVolumeHeader(random, {
        slots: [slotOf(secret)],
        ...(maker && { argon2: maker }),
      });
      const opened = await unlockTestVolumeHeader(random, made.bytes, secret, {
        ...(opener && { argon2: opener }),
      });
      expect(opened.volumeId).toBe(made.volumeId);
    }
  });

  it('composed and decomposed passphrases are one; spaces, case and compatibility forms are not', async () => {
    const made = await createVolumeHeader({
      slots: [slotOf({ type: 'passphrase', passphrase: 'caf\u00e9 2' })],
      argon2,
    });
    const attempt = (passphrase: string) =>
      unlockVolumeHeader(made.bytes, { type: 'passphrase', passphrase }, { argon2 });
    expect((await attempt('cafe\u0301 2')).volumeId).toBe(made.volumeId);
    for (const wrong of ['caf\u00e9 2 ', 'Caf\u00e9 2', 'cafe 2', 'caf\u00e9 \u00b2', 'caf\u00e9\u00a02']) {
      expect(await codeOf(() => attempt(wrong))).toBe('EKEY');
    }
  });

  it('no label, setting or secret is in the clear', async () => {
    const made = await createVolumeHeader({
      slots: [slotOf(secrets.passphrase, 'Label-Of-Slot'), slotOf(secrets.keyFile, 'Other-Label')],
      settings: utf8('Very-Secret-Setting'),
      argon2,
    });
    const text = Buffer.from(made.bytes).toString('latin1');
    for (const word of [
      'Label',
      'Setting',
      'correct',
      Buffer.from(secrets.keyFile.contents).toString('latin1'),
    ]) {
      expect(text.includes(word)).toBe(false);
    }
    const short = await createVolumeHeader({ slots: [slotOf(rawSecret(1), 'a')] });
    const long = await createVolumeHeader({ slots: [slotOf(rawSecret(1), 'a'.repeat(64))] });
    expect(long.bytes.byteLength).toBe(short.bytes.byteLength);
  });
});

describe('what does not open', () => {
  it('a wrong secret is EKEY, says what was tried, and nothing of the secret', async () => {
    const made = await createVolumeHeader({ slots: everySlot, argon2 });
    const wrong = [
      { type: 'passphrase', passphrase: 'wrong-passphrase' },
      { type: 'key-file', contents: new Uint8Array(100).fill(8) },
      rawSecret(10),
      { type: 'callback', callback: () => null },
    ] as const;
    for (const secret of wrong) {
      const error = await unlockVolumeHeader(made.bytes, secret, { argon2 }).catch(
        (caught: unknown) => caught,
      );
      expect(error).toMatchObject({ code: 'EKEY' });
      expect(messageOf(error)).toMatch(
        new RegExp(`^wrong ${secret.type.replace('-', ' ')}; other slots take: `),
      );
      expect(messageOf(error)).not.toMatch(/wrong-passphrase/);
    }
    expect(await codeOf(() => unlockVolumeHeader(made.bytes, wrong, { argon2 }))).toBe('EKEY');
    const right = await unlockVolumeHeader(made.bytes, [...wrong, secrets.rawKey], { argon2 });
    expect(right.openedSlotIds).toEqual([made.slots[2]?.id]);
  });

  it('a secret of one type does not open a slot of another, even with the same bytes', async () => {
    const made = await createVolumeHeader({ slots: [slotOf(rawSecret(1))] });
    const others: NewSecret[] = [
      { type: 'key-file', contents: rawKey(1) },
      { type: 'callback', provider: 'p', blob: new Uint8Array(0), callback: () => rawKey(1) },
    ];
    for (const secret of others)
      expect(await codeOf(() => unlockVolumeHeader(made.bytes, secret))).toBe('EKEY');
  });

  it('only the named slot is tried', async () => {
    const quick = new QuickArgon2();
    const passphrases = ['one', 'two', 'three'].map(
      passphrase => ({ type: 'passphrase', passphrase }) as const,
    );
    const made = await createVolumeHeader({
      slots: passphrases.map(secret => slotOf(secret)),
      argon2: quick,
    });
    quick.calls.length = 0;
    const slotId = made.slots[2]?.id ?? '';
    const opened = await unlockVolumeHeader(
      made.bytes,
      { type: 'passphrase', passphrase: 'three' },
      { slotId, argon2: quick },
    );
    expect(opened.openedSlotIds).toEqual([slotId]);
    expect(quick.calls.length).toBe(1);
    const one = { type: 'passphrase', passphrase: 'one' } as const;
    expect(await codeOf(() => unlockVolumeHeader(made.bytes, one, { slotId, argon2: quick }))).toBe('EKEY');
    expect(await codeOf(() => unlockVolumeHeader(made.bytes, one, { slotId: 'ff', argon2: quick }))).toBe(
      'EKEY',
    );
  });

  it.each<[string, NewSecret]>([
    ['an empty passphrase', { type: 'passphrase', passphrase: '' }],
    ['half a surrogate pair', { type: 'passphrase', passphrase: 'a\ud800' }],
    ['a huge passphrase', { type: 'passphrase', passphrase: 'x'.repeat(4097) }],
    ['a weak cost', { type: 'passphrase', passphrase: 'x', cost: WEAK_COST }],
    [
      'an absurd cost',
      { type: 'passphrase', passphrase: 'x', cost: { memoryKiB: 2 ** 30, passes: 1, lanes: 1 } },
    ],
    ['a short key file', { type: 'key-file', contents: new Uint8Array(31) }],
    ['a long key file', { type: 'key-file', contents: new Uint8Array(1024 * 1024 + 1) }],
    ['a short raw key', { type: 'raw-key', key: new Uint8Array(31).fill(1) }],
    ['a wiped raw key', { type: 'raw-key', key: new Uint8Array(32) }],
    [
      'a provider with a space',
      { type: 'callback', provider: 'a b', blob: new Uint8Array(0), callback: () => rawKey(1) },
    ],
    [
      'a provider with an escape',
      { type: 'callback', provider: '\u001b[2J', blob: new Uint8Array(0), callback: () => rawKey(1) },
    ],
    [
      'a long blob',
      { type: 'callback', provider: 'p', blob: new Uint8Array(1025), callback: () => rawKey(1) },
    ],
    [
      'a short callback key',
      {
        type: 'callback',
        provider: 'p',
        blob: new Uint8Array(0),
        callback: () => new Uint8Array(31).fill(1),
      },
    ],
    [
      'a callback that declines its own slot',
      { type: 'callback', provider: 'p', blob: new Uint8Array(0), callback: () => undefined },
    ],
  ])('%s is EINVAL for a new slot, before Argon2 runs', async (_name, secret) => {
    const quick = new QuickArgon2();
    const slots = [slotOf(secrets.rawKey), slotOf(secret)];
    expect(await codeOf(() => createVolumeHeader({ slots, argon2: quick }))).toBe('EINVAL');
    expect(quick.calls.length).toBe(0);
  });

  it.each(['', 'x'.repeat(65), 'ä'.repeat(33), 'a\nb', '\u001b[2J', '\ud800'])(
    'label %j is EINVAL',
    async label => {
      expect(await codeOf(() => createVolumeHeader({ slots: [slotOf(secrets.rawKey, label)] }))).toBe(
        'EINVAL',
      );
    },
  );

  it('too many slots, secrets, or settings are EINVAL', async () => {
    const slots = Array.from({ length: 17 }, () => slotOf(secrets.rawKey));
    expect(await codeOf(() => createVolumeHeader({ slots }))).toBe('EINVAL');
    expect(await codeOf(() => createVolumeHeader({ slots: [] }))).toBe('EINVAL');
    const full = await createVolumeHeader({ slots: slots.slice(1), settings: new Uint8Array(4096) });
    expect(await codeOf(() => full.addSlot(slotOf(secrets.rawKey)))).toBe('EINVAL');
    expect(await codeOf(() => full.withSettings(new Uint8Array(4097)))).toBe('EINVAL');
    expect(await codeOf(() => unlockVolumeHeader(full.bytes, []))).toBe('EINVAL');
    expect(
      await codeOf(() =>
        unlockVolumeHeader(
          full.bytes,
          slots.map(slot => slot.secret),
        ),
      ),
    ).toBe('EINVAL');
  });

  it('what a callback or an Argon2 provider throws is not called a wrong key', async () => {
    const made = await createVolumeHeader({ slots: everySlot, argon2 });
    const callback = () => Promise.reject(new Error('KMS unreachable'));
    await expect(unlockVolumeHeader(made.bytes, { type: 'callback', callback })).rejects.toThrow(
      'KMS unreachable',
    );
    const broken = { name: 'broken', derive: () => Promise.reject(new Error('no memory')) };
    const attempt = unlockVolumeHeader(made.bytes, secrets.passphrase, { argon2: broken });
    await expect(attempt).rejects.toMatchObject({ code: 'EUNSUPPORTED', cause: { message: 'no memory' } });
  });

  it('a callback gets ids and a blob of its own', async () => {
    const made = await createVolumeHeader({ slots: [slotOf(secrets.callback)] });
    const requests: unknown[] = [];
    const callback = (request: { blob: Uint8Array; slotId: string; volumeId: string }) => {
      requests.push({ ...request, blob: [...request.blob] });
      request.blob.fill(0);
      return rawKey(11);
    };
    const opened = await unlockVolumeHeader(made.bytes, { type: 'callback', callback });
    expect(requests).toEqual([
      { provider: 'test-kms', blob: [1, 2, 3], slotId: made.slots[0]?.id, volumeId: made.volumeId },
    ]);
    expect(inspectVolumeHeader(opened.bytes).slots).toEqual([expect.objectContaining({ blobBytes: 3 })]);
  });
});

describe('operations', () => {
  it('addSlot leaves the other slots and the keyring as they are', async () => {
    const one = await createVolumeHeader({ slots: everySlot, settings: utf8('kept'), argon2 });
    const two = await one.addSlot(slotOf({ type: 'passphrase', passphrase: 'new one' }, 'laptop'));
    expect(two.keyring).toBe(one.keyring);
    expect(two.generation).toBe(2);
    expect(two.slots.slice(0, 4)).toEqual(one.slots);
    const slotsEnd = 80 + slotBytesOf(one.bytes);
    expect(toHex(two.bytes.subarray(80, slotsEnd))).toBe(toHex(one.bytes.subarray(80, slotsEnd)));
    const opened = await unlockVolumeHeader(
      two.bytes,
      { type: 'passphrase', passphrase: 'new one' },
      { argon2 },
    );
    expect(opened.slots.at(-1)?.label).toBe('laptop');
    expect(toHex(opened.settings)).toBe(toHex(utf8('kept')));
  });

  it('a removed slot does not open the next header, and still opens the old one', async () => {
    const one = await createVolumeHeader({ slots: everySlot, argon2 });
    const two = one.removeSlot(one.slots[1]?.id ?? '');
    expect(two.slots.map(slot => slot.label)).toEqual(['passphrase', 'raw-key', 'callback']);
    expect(await codeOf(() => unlockVolumeHeader(two.bytes, secrets.keyFile, { argon2 }))).toBe('EKEY');
    expect((await unlockVolumeHeader(one.bytes, secrets.keyFile, { argon2 })).epoch).toBe(1);
    expect(await codeOf(() => two.removeSlot(one.slots[1]?.id ?? ''))).toBe('EINVAL');
    const last = two.removeSlot(one.slots[0]?.id ?? '').removeSlot(one.slots[2]?.id ?? '');
    expect(await codeOf(() => last.removeSlot(one.slots[3]?.id ?? ''))).toBe('EINVAL');
    expect((await unlockVolumeHeader(last.bytes, secrets.callback)).slots).toEqual([one.slots[3]]);
  });

  it('rekey keeps only the slots whose secret was presented', async () => {
    const one = await createVolumeHeader({ slots: everySlot, settings: utf8('kept'), argon2 });
    const two = await one.rekey([secrets.callback, secrets.passphrase]);
    expect(two).toMatchObject({ generation: 2, epoch: 2 });
    expect(two.slots).toEqual([one.slots[0], one.slots[3]]);
    expect(two.keyring).not.toBe(one.keyring);
    expect(toHex(two.keyring.epochKey(1))).toBe(toHex(one.keyring.epochKey(1)));
    expect(toHex(two.keyring.epochKey(2))).not.toBe(toHex(one.keyring.epochKey(1)));
    for (const secret of [secrets.callback, secrets.passphrase]) {
      const opened = await unlockVolumeHeader(two.bytes, secret, { argon2 });
      expect(opened.keyring.epochs).toEqual([1, 2]);
      expect(toHex(opened.keyring.epochKey(1))).toBe(toHex(one.keyring.epochKey(1)));
    }
    for (const secret of [secrets.rawKey, secrets.keyFile]) {
      expect(await codeOf(() => unlockVolumeHeader(two.bytes, secret, { argon2 }))).toBe('EKEY');
    }
  });

  it('rekey can shut out one of several slots that one callback or passphrase opens', async () => {
    const callback = {
      type: 'callback',
      provider: 'kms',
      callback: ({ blob }: { blob: Uint8Array }) => blob,
    } as const;
    const one = await createVolumeHeader({
      slots: [
        slotOf({ ...callback, blob: rawKey(1) }, 'stays'),
        slotOf({ ...callback, blob: rawKey(2) }, 'goes'),
        slotOf(rawSecret(3), 'goes, too'),
      ],
    });
    expect((await one.rekey(callback)).slots.length).toBe(2);
    const [stays, , other] = one.slots.map(slot => slot.id);
    const two = await one.rekey(callback, { slotIds: [stays ?? ''] });
    expect(two.slots.map(slot => slot.label)).toEqual(['stays']);
    expect(await codeOf(() => one.rekey(callback, { slotIds: [stays ?? '', other ?? ''] }))).toBe('EKEY');
    expect(await codeOf(() => one.rekey(rawSecret(3), { slotIds: [stays ?? ''] }))).toBe('EKEY');
    expect(await codeOf(() => one.rekey(callback, { slotIds: ['00'] }))).toBe('EINVAL');
    expect(await codeOf(() => one.rekey(callback, { slotIds: [] }))).toBe('EKEY');
  });

  it('rekey refuses a secret that opens no slot, and changes nothing', async () => {
    const one = await createVolumeHeader({ slots: everySlot, argon2 });
    expect(await codeOf(() => one.rekey([secrets.rawKey, rawSecret(77)]))).toBe('EKEY');
    expect(await codeOf(() => one.rekey([]))).toBe('EINVAL');
    expect((await unlockVolumeHeader(one.bytes, secrets.rawKey)).generation).toBe(1);
  });

  it.runIf(IS_LONG)('a header holds 256 epochs, and the fullest one fits and opens', async () => {
    const full = Array.from({ length: 16 }, () =>
      slotOf(
        {
          ...secrets.callback,
          provider: 'p'.repeat(64),
          blob: new Uint8Array(1024).fill(1),
          callback: () => rawKey(5),
        },
        'l'.repeat(64),
      ),
    );
    let header = await createVolumeHeader({ slots: full, settings: new Uint8Array(4096).fill(1) });
    for (let epoch = 2; epoch <= 256; epoch++)
      header = await header.rekey({ type: 'callback', callback: () => rawKey(5) });
    expect(header).toMatchObject({ epoch: 256, generation: 256 });
    expect(header.slots.length).toBe(16);
    expect(header.bytes.byteLength).toBe(80 + 16 * 1228 + 255 * 116 + 5424 + 32);
    const opened = await unlockVolumeHeader(header.bytes, { type: 'callback', callback: () => rawKey(5) });
    expect(opened.keyring.epochs.length).toBe(256);
    expect(await codeOf(() => header.rekey({ type: 'callback', callback: () => rawKey(5) }))).toBe('EINVAL');
    // Dropping one makes room for the next.
    const next = await header.dropEpochs([1]).rekey({ type: 'callback', callback: () => rawKey(5) });
    expect([next.epoch, next.keyring.epochs.length, next.keyring.epochs[0]]).toEqual([257, 256, 2]);
  });

  it('dropping an epoch takes its key away, and keeps everything else', async () => {
    const one = await createVolumeHeader({ slots: everySlot, settings: utf8('kept'), argon2 });
    const three = await (await one.rekey([secrets.rawKey, secrets.keyFile])).rekey([
      secrets.rawKey,
      secrets.keyFile,
    ]);
    const dropped = three.dropEpochs([1]);
    expect(dropped).toMatchObject({ generation: 4, epoch: 3, slots: three.slots, settings: utf8('kept') });
    expect(dropped.bytes.byteLength).toBe(three.bytes.byteLength - 116);
    const opened = await unlockVolumeHeader(dropped.bytes, secrets.keyFile);
    expect(opened.keyring.epochs).toEqual([2, 3]);
    expect(toHex(opened.keyring.epochKey(2))).toBe(toHex(three.keyring.epochKey(2)));
    expect(await codeOf(() => opened.keyring.epochKey(1))).toBe('EKEY');
    // The old header, and its keyring, still work.
    expect(three.keyring.epochs).toEqual([1, 2, 3]);
    expect(three.dropEpochs([2, 1]).keyring.epochs).toEqual([3]);
    expect(three.dropEpochs([]).keyring.epochs).toEqual([1, 2, 3]);
    for (const epochs of [[3], [1, 3], [4], [0], [1.5], 1]) {
      expect(await codeOf(() => three.dropEpochs(epochs as number[]))).toBe('EINVAL');
    }
  });

  it('operations on a destroyed keyring are ECLOSED', async () => {
    const one = await createVolumeHeader({ slots: [slotOf(rawSecret(1))] });
    one.keyring.destroy();
    expect(await codeOf(() => one.addSlot(slotOf(rawSecret(2))))).toBe('ECLOSED');
    expect(await codeOf(() => one.withSettings(new Uint8Array(1)))).toBe('ECLOSED');
    expect(await codeOf(() => one.rekey(rawSecret(1)))).toBe('ECLOSED');
    expect(await codeOf(() => one.dropEpochs([]))).toBe('ECLOSED');
  });

  it('any settings and labels come back', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 4096 }),
        fc.array(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 }), {
          minLength: 1,
          maxLength: 16,
        }),
        async (settings, names) => {
          const labels = names.filter(name => utf8(name).byteLength <= 64 && !/\p{Cc}/u.test(name));
          fc.pre(labels.length > 0);
          const made = await createVolumeHeader({
            slots: labels.map(label => slotOf(rawSecret(3), label)),
            settings,
          });
          const opened = await unlockVolumeHeader(made.bytes, rawSecret(3));
          expect(opened.slots.map(slot => slot.label)).toEqual(labels);
          expect(toHex(opened.settings)).toBe(toHex(settings));
          expect((made.bytes.byteLength - 80 - 32 - 48 - 136 * labels.length) % 256).toBe(0);
        },
      ),
      { numRuns: 60 },
    );
  });
});

/** What the slots of a header take, walking their lengths. */
function slotBytesOf(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  let offset = 80;
  for (let index = 0; index < (bytes[5] ?? 0); index++) offset += view.getUint16(offset, true);
  return offset - 80;
}
