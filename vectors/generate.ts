/**
 * Writes our own vectors: `npm run vectors`. Running it again gives the same bytes.
 *
 *   - Compressed payloads are taken from the committed files: compressors may change between versions, and
 *     the old output must stay readable. `npm run vectors -- --refresh` compresses them again.
 *   - Vectors that standards publish (`vectors/ciphers`) are not generated.
 */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { chooseProviders } from '../src/unit/providers.ts';
import { formatCase, type GoldenCase, type RecordCase, readCases, VECTORS_URL } from './case.ts';
import { makeFailureCases } from './failure-cases.ts';
import { makeGoldenCases, type PayloadSource } from './golden-cases.ts';

/** Every case of `vectors/unit` by file name without `.json`. */
export async function makeUnitCases(refresh: boolean): Promise<Map<string, RecordCase>> {
  const providers = await chooseProviders();
  const committed = readCases<Partial<GoldenCase> & RecordCase>('unit');
  const payloadFor: PayloadSource = (name, codec, level, plain) => {
    const payload = committed.get(name)?.payload;
    if (!refresh && payload !== undefined) return Buffer.from(payload, 'base64');
    return providers.codec(codec).compress(plain, level);
  };
  return new Map<string, RecordCase>([...makeGoldenCases(payloadFor), ...makeFailureCases()]);
}

async function main(): Promise<void> {
  const folder = new URL('unit/', VECTORS_URL);
  mkdirSync(folder, { recursive: true });
  const cases = await makeUnitCases(process.argv.includes('--refresh'));
  for (const name of readdirSync(folder)) {
    if (!cases.has(name.replace(/\.json$/, ''))) rmSync(new URL(name, folder));
  }
  for (const [name, unitCase] of cases) writeFileSync(new URL(`${name}.json`, folder), formatCase(unitCase));
  console.log(`vectors/unit: ${cases.size} cases`);
}

if (import.meta.main) await main();
