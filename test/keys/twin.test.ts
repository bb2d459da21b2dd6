import { expect, it } from 'vitest';
import { toHex, utf8 } from '../../src/base/bytes.ts';
import { createTestVolumeHeader, seededRandom } from '../../src/testing.ts';
import { everySecret, slotOf, WEAK_COST } from './helpers.ts';
import { twinOpen } from './twin.ts';

it('a reader written from the byte tables alone opens every slot and finds the same', async () => {
  const secrets = everySecret();
  const passphrase = { ...secrets.passphrase, passphrase: 'n\u0303 \u00fc', cost: WEAK_COST };
  let header = await createTestVolumeHeader(seededRandom('twin'), {
    slots: [slotOf(passphrase, 'ein Büro'), slotOf(secrets.keyFile), slotOf(secrets.rawKey)],
    settings: utf8('settings'),
  });
  for (let epoch = 1; epoch <= 3; epoch++) {
    const held = [utf8('\u00f1 \u00fc'), secrets.keyFile.contents, secrets.rawKey.key];
    for (const [index, bytes] of held.entries()) {
      const twin = twinOpen(Buffer.from(header.bytes), index, bytes);
      expect(twin.labels).toEqual(['ein Büro', 'key-file', 'raw-key']);
      expect(twin.settings.toString()).toBe('settings');
      expect(twin.epoch).toBe(epoch);
      expect([...twin.epochKeys.keys()].sort()).toEqual(header.keyring.epochs);
      for (const [number, key] of twin.epochKeys) {
        expect(toHex(key)).toBe(toHex(header.keyring.epochKey(number)));
      }
    }
    header = await header.rekey([passphrase, secrets.keyFile, secrets.rawKey]);
  }
});
