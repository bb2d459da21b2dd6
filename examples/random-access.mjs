/**
 * Units by hand: seal a large value in units of 64 KiB, keep each unit's tag, and later read one unit out of the middle
 * without touching the others. The tag says which version of the unit it must be, so that an old one is refused.
 *
 *   node random-access.mjs                                     where netseal is installed
 *   npx node --conditions=netseal-source random-access.mjs     in its own checkout
 */
import { randomBytes } from 'node:crypto';
import { Keyring, openPipeline } from 'netseal';

const unitSizeBytes = 64 * 1024;
const value = Buffer.from('0123456789abcdef'.repeat(100_000));
const objectId = randomBytes(16); // fresh for every object, never used again

const pipeline = await openPipeline({ workers: 2 });
try {
  const keys = pipeline.addKeyring(Keyring.create());

  // Seal. `from` is shared memory that the workers read; `batch` is shared memory that they wrote.
  const from = await pipeline.reservePlain(value.byteLength);
  from.bytes.set(value);
  const units = [];
  for (let offsetBytes = 0; offsetBytes < value.byteLength; offsetBytes += unitSizeBytes) {
    const lengthBytes = Math.min(unitSizeBytes, value.byteLength - offsetBytes);
    units.push({ objectId, kind: 'unit', index: units.length, unitSizeBytes, offsetBytes, lengthBytes });
  }
  const batch = await pipeline.seal({ keys, from, units });
  const stored = batch.units.map(({ bytes, tag }) => ({ bytes: Buffer.from(bytes), tag }));
  batch.release();
  from.release();

  // Read 4 KiB at byte 1,000,000: one unit is enough.
  const position = 1_000_000;
  const index = Math.floor(position / unitSizeBytes);
  const { bytes: record, tag: expectedTag } = stored[index];
  const sealed = await pipeline.reserveSealed(record.byteLength);
  sealed.bytes.set(record);
  const place = { objectId, kind: 'unit', index, unitSizeBytes };
  const opened = await pipeline.open({
    keys,
    from: sealed,
    units: [{ ...place, offsetBytes: 0, lengthBytes: record.byteLength, expectedTag }],
  });
  const [unit] = opened.units;
  if (unit.error) throw unit.error;
  const inUnit = position - index * unitSizeBytes;
  const got = Buffer.from(unit.bytes.subarray(inUnit, inUnit + 4096));
  opened.release();
  sealed.release();

  const isSame = got.equals(value.subarray(position, position + 4096));
  const total = stored.reduce((sum, { bytes }) => sum + bytes.byteLength, 0);
  console.log(`${units.length} units, ${value.byteLength} bytes stored as ${total}`);
  console.log(`read ${got.byteLength} bytes from unit ${index}: ${isSame ? 'the same' : 'DIFFERENT'}`);
  if (!isSame) process.exitCode = 1;
} finally {
  await pipeline.close();
}
