/**
 * Writes the vectors of this folder: `node vectors/keys/generate.ts`. Each file has a volume header, the
 * secrets that open it, and the expected result. All randomness is seeded, so running it again changes
 * nothing.
 */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { toHex, utf8 } from '../../src/base/bytes.ts';
import type { NewSlot } from '../../src/keys/new-slot.ts';
import type { NewSecret } from '../../src/keys/secret.ts';
import type { VolumeHeader } from '../../src/keys/volume-header.ts';
import { createTestVolumeHeader, seededRandom } from '../../src/testing.ts';

export interface KeyVector {
  readonly about: string;
  /** "ok", or the code of the failure. */
  readonly expect: string;
  readonly header: string;
  /** Each of them alone gives the expected result. */
  readonly secrets: readonly (
    | { readonly passphrase: string }
    | { readonly keyFile: string }
    | { readonly rawKey: string }
  )[];
  /** The expected contents, for a success. */
  readonly opened?: {
    readonly generation: number;
    readonly volumeId: string;
    readonly epochKeys: Readonly<Record<string, string>>;
    readonly slots: readonly { readonly label: string; readonly createdAtMs: number }[];
    readonly settings: string;
  };
}

const rawKey = new Uint8Array(32).map((_, index) => index + 1);
const keyFile = new Uint8Array(48).fill(0xc5);
const passphrase = 'Zwölf Boxkämpfer';
const cost = { memoryKiB: 256, passes: 2, lanes: 2 };

function slot(label: string, secret: NewSecret): NewSlot {
  return { label, secret };
}

function changed(bytes: Uint8Array, at: number, ...values: number[]): string {
  const copy = new Uint8Array(bytes);
  copy.set(values, at);
  return toHex(copy);
}

function openedOf(header: VolumeHeader): NonNullable<KeyVector['opened']> {
  return {
    generation: header.generation,
    volumeId: header.volumeId,
    epochKeys: Object.fromEntries(
      header.keyring.epochs.map(epoch => [epoch, toHex(header.keyring.epochKey(epoch))]),
    ),
    slots: header.slots.map(({ label, createdAtMs }) => ({ label, createdAtMs })),
    settings: toHex(header.settings),
  };
}

/** The vectors by file name. */
export async function makeKeyVectors(): Promise<Map<string, KeyVector>> {
  let clockMs = 1_790_000_000_000;
  const one = await createTestVolumeHeader(seededRandom('netseal vectors, volume header'), {
    slots: [
      slot('recovery key', { type: 'raw-key', key: rawKey }),
      slot('Büro', { type: 'passphrase', passphrase, cost }),
      slot('key file', { type: 'key-file', contents: keyFile }),
    ],
    settings: utf8('{"unitSizeBytes":262144}'),
    argon2: 'portable',
    nowMs: () => clockMs++,
  });
  const raw = { rawKey: toHex(rawKey) };
  const everySecret = [raw, { passphrase }, { keyFile: toHex(keyFile) }];
  const two = await one.rekey([
    { type: 'raw-key', key: rawKey },
    { type: 'passphrase', passphrase },
  ]);
  const three = two.withSettings(utf8('{}'));
  const { bytes } = one;
  const passphraseSlot = 80 + 136;
  return new Map<string, KeyVector>([
    [
      'ok-one-epoch',
      {
        about: 'three slots, one epoch',
        expect: 'ok',
        header: toHex(bytes),
        secrets: everySecret,
        opened: openedOf(one),
      },
    ],
    [
      'ok-rekeyed',
      {
        about: 'the same after a rekey that dropped the key file, and an edit',
        expect: 'ok',
        header: toHex(three.bytes),
        secrets: [raw, { passphrase }],
        opened: openedOf(three),
      },
    ],
    [
      'fail-dropped-slot',
      {
        about: 'the key file that the rekey dropped',
        expect: 'EKEY',
        header: toHex(three.bytes),
        secrets: [{ keyFile: toHex(keyFile) }],
      },
    ],
    [
      'fail-wrong-secret',
      {
        about: 'none of its secrets',
        expect: 'EKEY',
        header: toHex(bytes),
        secrets: [
          { rawKey: 'ff'.repeat(32) },
          { passphrase: 'zwölf Boxkämpfer' },
          { keyFile: 'ff'.repeat(48) },
        ],
      },
    ],
    [
      'fail-mac',
      {
        about: 'a flipped bit in the MAC',
        expect: 'EAUTH',
        header: changed(bytes, bytes.byteLength - 1, (bytes.at(-1) ?? 0) ^ 1),
        secrets: everySecret,
      },
    ],
    [
      'fail-generation',
      {
        about: 'the generation raised',
        expect: 'EAUTH',
        header: changed(bytes, 16, 9),
        secrets: everySecret,
      },
    ],
    [
      'fail-old-slot',
      {
        about: 'the raw-key slot of before the rekey in the header of after it',
        expect: 'EAUTH',
        header: changed(three.bytes, 80, ...bytes.subarray(80, 216)),
        secrets: [raw],
      },
    ],
    [
      'fail-slot-type',
      {
        about: 'the raw-key slot claims to be a key file',
        expect: 'EKEY',
        header: changed(bytes, 82, 2),
        secrets: [raw, { keyFile: toHex(rawKey) }],
      },
    ],
    [
      'fail-terabyte',
      {
        about: 'the passphrase slot asks for a tebibyte of memory',
        expect: 'EFORMAT',
        header: changed(bytes, passphraseSlot + 136, 0, 0, 0, 0x40),
        secrets: everySecret,
      },
    ],
    [
      'fail-truncated',
      {
        about: 'the last byte is missing',
        expect: 'ETRUNCATED',
        header: toHex(bytes.subarray(0, -1)),
        secrets: everySecret,
      },
    ],
    [
      'fail-trailing',
      { about: 'one byte too many', expect: 'EFORMAT', header: `${toHex(bytes)}00`, secrets: everySecret },
    ],
    [
      'fail-version',
      { about: 'version 2', expect: 'EUNSUPPORTED', header: changed(bytes, 4, 2), secrets: everySecret },
    ],
  ]);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [name, vector] of await makeKeyVectors()) {
    writeFileSync(new URL(`${name}.json`, import.meta.url), `${JSON.stringify(vector, null, 2)}\n`);
  }
}
