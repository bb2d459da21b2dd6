/** A reader of single records as a layer above `src/unit` would be: keys by what the header says, place from outside. */
import { fromHex } from '../../src/base/bytes.ts';
import { Keyring } from '../../src/keys/keyring.ts';
import { type OpenedRecord, Opener } from '../../src/unit/open.ts';
import type { Providers } from '../../src/unit/providers.ts';
import { decodeHeader } from '../../src/unit/record-format.ts';
import { RecordKey } from '../../src/unit/record-key.ts';
import type { ReaderFields } from '../../vectors/case.ts';

/** Opens a record into `out` under the fields of a vector. `makeOpener` is for openers that are broken on purpose. */
export function openAs(
  fields: ReaderFields & { readonly expectedTag?: string },
  providers: Providers,
  record: Uint8Array,
  out: Uint8Array,
  makeOpener: (providers: Providers) => Pick<Opener, 'open'> = chosen => new Opener(chosen),
): OpenedRecord {
  using keyring = new Keyring(fromHex(fields.volumeId), new Map([[fields.epoch, fromHex(fields.epochKey)]]));
  const header = decodeHeader(record);
  const key = new RecordKey(
    {
      volumeId: keyring.volumeId,
      objectId: fromHex(fields.objectId),
      kind: fields.kind,
      suite: header.suite,
      epoch: header.epoch,
    },
    keyring.epochKey(header.epoch),
    providers.suite(header.suite),
  );
  try {
    const { index, unitSizeLog2 } = fields;
    const tag = fields.expectedTag === undefined ? undefined : fromHex(fields.expectedTag);
    return makeOpener(providers).open(header, key, { index, unitSizeLog2 }, record, out, tag);
  } finally {
    key.destroy();
  }
}
