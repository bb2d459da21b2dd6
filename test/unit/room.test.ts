/** Records whose padding reaches past what they open to. */
import { expect, it } from 'vitest';
import { NonceSource } from '../../src/unit/nonces.ts';
import { Opener } from '../../src/unit/open.ts';
import { chooseProviders } from '../../src/unit/providers.ts';
import { decodeHeader } from '../../src/unit/record-format.ts';
import { RecordKey } from '../../src/unit/record-key.ts';
import { Sealer } from '../../src/unit/seal.ts';

const providers = await chooseProviders();

it.each([
  { kind: 'inode', unitSizeLog2: 0, padding: 65536 },
  { kind: 'unit', unitSizeLog2: 12, padding: 4096 },
] as const)('a $kind of 5 bytes padded to $padding opens into 5 bytes', ({ kind, unitSizeLog2, padding }) => {
  const name = {
    volumeId: new Uint8Array(16),
    objectId: new Uint8Array(16),
    kind,
    suite: 'xaes-256-gcm',
    epoch: 1,
  } as const;
  const key = new RecordKey(name, new Uint8Array(32), providers.suite('xaes-256-gcm'));
  const place = { index: 0, unitSizeLog2 };
  const record = new Uint8Array(72 + padding);
  const setting = { codec: { codec: 'stored', level: 0 }, padding } as const;
  const sealed = new Sealer(providers, new NonceSource()).seal(
    key,
    place,
    setting,
    new Uint8Array(5).fill(7),
    record,
  );
  expect(sealed).toBe(record.byteLength);
  const out = new Uint8Array(5);
  const opened = new Opener(providers).open(decodeHeader(record), key, place, record, out);
  expect(opened.plainBytes).toBe(5);
  expect(out).toEqual(new Uint8Array(5).fill(7));
});
