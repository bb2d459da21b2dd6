/** See `fs-model.ts`. `NETSEAL_SEED` replays a failure. */
import { expect, it } from 'vitest';
import { seededChance } from '../../src/base/chance.ts';
import { KIB, MIB } from '../../src/base/geometry.ts';
import { seededFaults } from '../../src/server/faults.ts';
import { verifyVolume } from '../../src/volume/care/verify.ts';
import type { Volume } from '../../src/volume/volume.ts';
import { whyNotEqual } from '../netfs/file-model.ts';
import { Turns } from '../netfs/turns.ts';
import { IS_LONG, SEED, soakSize } from '../support/soak.ts';
import { FsModel, type FsModelSetting } from './fs-model.ts';
import { aroundStore, makeFolder, makeObjectFolder, readFile, TestVolume } from './support.ts';

interface Setting extends FsModelSetting {
  readonly faultRate: number;
  readonly pageBytes: number;
}

const CALM: Setting = {
  rounds: soakSize(60, 150),
  folders: ['', '/embedded', '/object'],
  names: ['a', 'b', 'c', 'd'],
  sizeBytes: 60 * KIB,
  writeBytes: 20 * KIB,
  faultRate: 0,
  pageBytes: MIB,
};

const SETTINGS: readonly (readonly [string, Setting])[] = [
  ['two clients', CALM],
  ['few names', { ...CALM, folders: ['', '/object'], names: ['a', 'b'] }],
  ['lost answers', { ...CALM, faultRate: 0.05 }],
  ['little memory', { ...CALM, sizeBytes: 700 * KIB, writeBytes: 300 * KIB }],
];

async function play(seed: number, setting: Setting): Promise<Map<string, number>> {
  const turns = new Turns(seed, { hasThreads: true });
  const test = await TestVolume.create();
  try {
    let isOn = false;
    const volumes: Volume[] = [];
    for (const at of [0, 1]) {
      const plan = seededFaults(2 * seed + at, setting.faultRate, ['refused', 'lost', 'dropped']);
      const client = await test.client({
        scheduler: turns,
        pageBytes: setting.pageBytes,
        retry: { pauseMs: 1, pauseMsMax: 2, attemptsMax: 12 },
        faults: request => (isOn ? plan(request) : undefined),
        around: store =>
          aroundStore(store, async call => {
            if (isOn) await turns.turn(`${at} ${call.operation}`);
            return await call.send();
          }),
      });
      volumes.push(client.volume);
    }
    const [first] = volumes;
    if (first === undefined) throw new Error('there is no client');
    if (setting.folders.includes('/embedded')) await makeFolder(first, '/embedded');
    await makeObjectFolder(first, '/object');
    isOn = true;
    const model = new FsModel(volumes, turns, setting, seededChance(seed));
    await model.run();
    for (const volume of volumes) await turns.run(volume.close());
    isOn = false;
    const { volume } = await test.client();
    for (const [path, content] of model.contents) {
      expect(whyNotEqual(await readFile(volume, path), content), `seed ${seed}: ${path}`).toBeUndefined();
    }
    const listed = await volume.fs.readdir('/', { recursive: true, withFileTypes: true });
    const files = listed.filter(entry => entry.isFile()).length;
    expect(files, `seed ${seed}`).toBe(model.contents.size);
    expect((await verifyVolume(volume)).damages, `seed ${seed}`).toEqual([]);
    return model.counts;
  } finally {
    // Also what waits for a turn ends.
    await turns.run(test.close());
  }
}

for (const [name, setting] of SETTINGS) {
  it(`files and names against a model: ${name}`, { timeout: soakSize(20_000, 300_000) }, async () => {
    const sums = new Map<string, number>();
    for (let run = 0; run < soakSize(1, 10); run += 1) {
      const counts = await play(SEED + run, setting);
      for (const [verb, count] of counts) sums.set(verb, count + (sums.get(verb) ?? 0));
    }
    // What was to happen did.
    const usual = ['create', 'open', 'write', 'read', 'close'];
    const all = [
      ...usual,
      'rename',
      'unlink',
      'link',
      'copy',
      'truncate',
      'refuse',
      'resize',
      'sync',
      'leave',
    ];
    expect([...sums.keys()], `seed ${SEED}`).toEqual(expect.arrayContaining(IS_LONG ? all : usual));
  });
}
