/** A folder's files as units, and as batches of units that travel to the pipeline together. */
import { type FileHandle, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** One unit of one file. */
export interface TreeUnit {
  /** Number of the file, in the order of {@link listFiles}. */
  readonly file: number;
  readonly index: number;
  readonly bytes: Uint8Array;
}

/** All regular files below `root`, sorted; links, `.git` and builds are left out. */
export async function listFiles(root: string): Promise<string[]> {
  const found: string[] = [];
  const visit = async (folder: string): Promise<void> => {
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.isDirectory() && entry.name !== '.git' && entry.name !== 'dist') await visit(path);
      else if (entry.isFile()) found.push(path);
    }
  };
  await visit(root);
  return found.sort();
}

/** Batches of whole units, of many small files or a part of a large one; each unit's bytes are its own. */
export async function* unitBatches(
  files: readonly string[],
  unitBytes: number,
  limits: { readonly bytes: number; readonly units: number },
): AsyncGenerator<TreeUnit[]> {
  let batch: TreeUnit[] = [];
  let batchBytes = 0;
  for (const [file, path] of files.entries()) {
    const handle = await open(path);
    try {
      for (let index = 0; ; index += 1) {
        const bytes = await readUnit(handle, unitBytes);
        // An empty file has one empty unit, so that it is not lost.
        if (bytes.byteLength === 0 && index > 0) break;
        if (batch.length === limits.units || batchBytes + bytes.byteLength > limits.bytes) {
          yield batch;
          batch = [];
          batchBytes = 0;
        }
        batch.push({ file, index, bytes });
        batchBytes += bytes.byteLength;
        if (bytes.byteLength < unitBytes) break;
      }
    } finally {
      await handle.close();
    }
  }
  if (batch.length > 0) yield batch;
}

/** The next unit of a file; shorter, or empty, at its end. */
async function readUnit(handle: FileHandle, unitBytes: number): Promise<Uint8Array> {
  const unit = Buffer.allocUnsafeSlow(unitBytes);
  let filled = 0;
  while (filled < unitBytes) {
    const { bytesRead } = await handle.read(unit, filled, unitBytes - filled, null);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return filled === unitBytes ? unit : unit.subarray(0, filled);
}
