/**
 * Edits 2,000 places of a large file in a volume, in little memory. Then a second process reads the file.
 *
 *   node edit.mjs                                     where netseal is installed
 *   npx node --conditions=netseal-source edit.mjs     in its own checkout
 *
 * With a number of MiB as its argument, the file is that large. Default 32.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createVolume, DirectoryStore, openPipeline, openVolume } from 'netseal';

const MIB = 1024 * 1024;
const EDITS = 2000;
const EDIT_BYTES = 4096;
const secret = { type: 'passphrase', passphrase: 'correct horse battery staple' };

/** Opens the volume in a folder, with 64 MiB: half for pages, half for what is sealed and opened. */
async function withVolume(folder, work) {
  const store = await DirectoryStore.open(folder, { create: true });
  const pipeline = await openPipeline({ memoryBytes: 32 * MIB });
  try {
    const secrets = secret;
    const volume = await openVolume({ store, secrets, pipeline, pageBytes: 32 * MIB });
    try {
      await work(volume);
    } finally {
      await volume.close();
    }
  } finally {
    await pipeline.close();
    await store.close();
  }
}

/** Reads a file of the volume from one end to the other. Returns its SHA-256. */
async function digestOf(volume, path) {
  const file = await volume.open(path);
  const hash = createHash('sha256');
  // The stream closes the file when it ends.
  for await (const chunk of file.createReadStream({ highWaterMark: MIB })) hash.update(chunk);
  return hash.digest('hex');
}

if (process.argv[2] === 'read') {
  // The second process: it has the store and the secret, and nothing else.
  await withVolume(process.argv[3], async volume => console.log(await digestOf(volume, '/table.db')));
} else {
  const sizeBytes = Number(process.argv[2] ?? 32) * MIB;
  const folder = await mkdtemp(join(tmpdir(), 'netseal-example-'));
  try {
    const store = await DirectoryStore.open(folder, { create: true });
    await createVolume({ store, slots: [{ label: 'me', secret }] });
    await store.close();
    let digest = '';
    await withVolume(folder, async volume => {
      // Small units suit small writes at random.
      const file = await volume.open('/table.db', 'w+', 0o644, { unitSizeBytes: 16 * 1024 });
      const block = Buffer.alloc(MIB);
      for (let at = 0; at < sizeBytes; at += MIB) {
        block.fill(`${at} `);
        await file.write(block, { position: at });
      }
      await file.sync();

      for (let edit = 0; edit < EDITS; edit += 1) {
        const bytes = Buffer.alloc(EDIT_BYTES, `edit ${edit} `);
        const position = Math.floor(Math.random() * (sizeBytes - EDIT_BYTES));
        await file.write(bytes, { position });
      }
      const { dirtyBytes } = file.status();
      const startMs = performance.now();
      await file.sync();
      const tookMs = Math.round(performance.now() - startMs);
      console.log(
        `${EDITS} edits, ${Math.round(dirtyBytes / 1024)} KiB of them not uploaded yet; synced in ${tookMs} ms`,
      );
      await file.close();
      digest = await digestOf(volume, '/table.db');
    });
    const conditions = process.execArgv.filter(option => option.startsWith('--conditions'));
    const self = fileURLToPath(import.meta.url);
    const read = execFileSync(process.execPath, [...conditions, self, 'read', folder], { encoding: 'utf8' });
    const isSame = read.trim() === digest;
    console.log(isSame ? 'a second process reads the same' : 'DIFFERENT');
    if (!isSame) process.exitCode = 1;
  } finally {
    await rm(folder, { recursive: true });
  }
}
