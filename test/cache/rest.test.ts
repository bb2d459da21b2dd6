/** What lies in a cache's folder: nothing readable, nothing that harms when it is damaged, and one owner. */
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { collect, idOf, KIB, MIB, newFolder, openTestCache, unitOf } from './support.ts';

const VOLUME = idOf(1);
const FILE = idOf(100);
const SETTINGS = { budgetBytes: MIB, regionBytes: 16 * KIB };
const COHERENCY = Buffer.from('ETag of a secret file name');
const PAYLOAD = Buffer.from('journal: rename secret to hidden');

/** A cache in which there is some of everything, closed. */
async function makeFull(): Promise<string> {
  const folder = newFolder();
  const cache = await openTestCache(folder, SETTINGS);
  const volume = cache.volume(VOLUME);
  volume.pin(idOf(5), { unitCount: 20 });
  for (let index = 0; index < 60; index += 1) {
    await volume.put([{ objectId: FILE, index, bytes: unitOf(index) }]);
    if (index < 10) await volume.put([{ objectId: idOf(5), index, bytes: unitOf(1000 + index) }]);
  }
  volume.setCoherency(FILE, COHERENCY);
  volume.invalidate(idOf(6));
  for (let at = 0; at < 5; at += 1) {
    const units = [{ volumeId: VOLUME, objectId: idOf(7), index: at, bytes: unitOf(2000 + at) }];
    const id = await cache.appendDirty({ units, payload: PAYLOAD });
    if (at === 0) await cache.releaseDirty([id]);
  }
  await cache.close();
  return folder;
}

function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map(name => `${folder}/${name}`)
    .filter(path => statSync(path).isFile());
}

describe('at rest', () => {
  it('no id, key, name or plaintext can be found, in content or in names', async () => {
    const folder = await makeFull();
    const raw = Buffer.alloc(32, 7);
    const secrets = [VOLUME, FILE, idOf(5), idOf(6), idOf(7), COHERENCY, PAYLOAD, raw].map(each =>
      Buffer.from(each),
    );
    const needles = secrets.flatMap(secret => [secret, Buffer.from(secret.toString('hex'))]);
    const files = filesIn(folder);
    expect(files.length).toBeGreaterThan(20);
    for (const path of files) {
      const content = readFileSync(path);
      for (const needle of needles) {
        expect(content.includes(needle), path).toBe(false);
        expect(path.includes(needle.toString('latin1'))).toBe(false);
      }
    }
    // The needles can be found where they are.
    expect(Buffer.concat([Buffer.from(unitOf(1)), Buffer.from(FILE)]).includes(needles[2]!)).toBe(true);
  });

  it('files are for their owner alone', async () => {
    for (const path of filesIn(await makeFull())) {
      expect(statSync(path).mode & 0o077, path).toBe(0);
    }
  });
});

describe('damage', () => {
  it('is found by verify, and dropped by repair', async () => {
    const folder = await makeFull();
    const paths = readdirSync(`${folder}/regions`).map(name => `${folder}/regions/${name}`);
    const [first = '', second = ''] = paths;
    const content = readFileSync(first);
    content[2000] = (content[2000] ?? 0) ^ 1;
    writeFileSync(first, content);
    const torn = readFileSync(second);
    writeFileSync(second, torn.subarray(0, torn.byteLength - 100));
    const cache = await openTestCache(folder, SETTINGS);
    const found = await collect(cache.verify());
    expect(found.map(({ what }) => what).sort()).toEqual(['region', 'unit']);
    expect(await collect(cache.verify({ repair: true }))).toHaveLength(2);
    expect(await collect(cache.verify())).toEqual([]);
  });
});
