/** One of the threads of bare-threads.ts. */
import { createCipheriv, createDecipheriv, createSecretKey, randomBytes } from 'node:crypto';
import { parentPort, workerData } from 'node:worker_threads';
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import type { BareStart, BareWork } from './bare-threads.ts';

const { data, unitBytes, fromUnit, toUnit } = workerData as BareStart;
const key = createSecretKey(randomBytes(32));
const associated = new Uint8Array(64);
const chunkSize = unitBytes + (unitBytes >>> 8) + 512;
const compressOptions = { chunkSize, params: { [constants.ZSTD_c_compressionLevel]: 1 } };
const decompressOptions = { chunkSize: unitBytes + 64, maxOutputLength: unitBytes };

interface Sealed {
  readonly nonce: Uint8Array;
  readonly ciphertext: Uint8Array;
  readonly tag: Uint8Array;
}

function seal(plain: Uint8Array): Sealed {
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: 16 });
  cipher.setAAD(associated);
  const ciphertext = cipher.update(zstdCompressSync(plain, compressOptions));
  cipher.final();
  return { nonce, ciphertext, tag: cipher.getAuthTag() };
}

function open({ nonce, ciphertext, tag }: Sealed): Uint8Array {
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: 16 });
  decipher.setAAD(associated);
  decipher.setAuthTag(tag);
  const payload = decipher.update(ciphertext);
  decipher.final();
  return zstdDecompressSync(payload, decompressOptions);
}

function unit(at: number): Uint8Array {
  return new Uint8Array(data, at * unitBytes, unitBytes);
}

const sealed: Sealed[] = [];
for (let at = fromUnit; at < toUnit; at += 1) {
  const record = seal(unit(at));
  if (Buffer.compare(open(record), unit(at)) !== 0)
    throw new Error(`bare thread: unit ${at} does not round-trip`);
  sealed.push(record);
}

parentPort?.on('message', (work: BareWork) => {
  if (work === 'seal') for (let at = fromUnit; at < toUnit; at += 1) seal(unit(at));
  else for (const record of sealed) open(record);
  parentPort?.postMessage('done');
});
parentPort?.postMessage('ready');
