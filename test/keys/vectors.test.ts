import { readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { fromHex, toHex } from '../../src/base/bytes.ts';
import { type Argon2ProviderName, nativeArgon2 } from '../../src/keys/argon2.ts';
import type { Secret } from '../../src/keys/secret.ts';
import { unlockVolumeHeader } from '../../src/keys/unlock.ts';
import { seededRandom, unlockTestVolumeHeader } from '../../src/testing.ts';
import { type KeyVector, makeKeyVectors } from '../../vectors/keys/generate.ts';
import { codeOf } from './helpers.ts';

const folder = new URL('../../vectors/keys/', import.meta.url);
const files = readdirSync(folder).filter(name => name.endsWith('.json'));
const providers: Argon2ProviderName[] = nativeArgon2() === undefined ? ['portable'] : ['native', 'portable'];

function readVector(file: string): KeyVector {
  return JSON.parse(readFileSync(new URL(file, folder), 'utf8'));
}

function secretOf(vectorSecret: KeyVector['secrets'][number]): Secret {
  if ('passphrase' in vectorSecret) return { type: 'passphrase', passphrase: vectorSecret.passphrase };
  if ('keyFile' in vectorSecret) return { type: 'key-file', contents: fromHex(vectorSecret.keyFile) };
  return { type: 'raw-key', key: fromHex(vectorSecret.rawKey) };
}

it('the generator makes the files that are here', async () => {
  const made = await makeKeyVectors();
  expect(files.map(file => file.replace('.json', '')).sort()).toEqual([...made.keys()].sort());
  for (const [name, vector] of made) expect([name, readVector(`${name}.json`)]).toEqual([name, vector]);
});

// A header that was made under Node 24 opens under Node 22: the portable provider is all that Node 22 has.
it.each(files.flatMap(file => providers.map(argon2 => ({ file, argon2 }))))(
  '$file under the $argon2 Argon2',
  async ({ file, argon2 }) => {
    const vector = readVector(file);
    const bytes = fromHex(vector.header);
    for (const secret of vector.secrets.map(secretOf)) {
      const unlock = () => unlockTestVolumeHeader(seededRandom('unused'), bytes, secret, { argon2 });
      if (vector.expect !== 'ok') {
        expect(await codeOf(unlock)).toBe(vector.expect);
        continue;
      }
      const header = await unlock();
      expect({
        generation: header.generation,
        volumeId: header.volumeId,
        epochKeys: Object.fromEntries(
          header.keyring.epochs.map(epoch => [epoch, toHex(header.keyring.epochKey(epoch))]),
        ),
        slots: header.slots.map(({ label, createdAtMs }) => ({ label, createdAtMs })),
        settings: toHex(header.settings),
      }).toEqual(vector.opened);
      expect(await codeOf(() => unlockVolumeHeader(bytes, secret))).toBe('EUNSUPPORTED');
    }
  },
);
