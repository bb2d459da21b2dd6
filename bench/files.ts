/** Makes files of executable code, and compares copies with them. */
import { mkdir, open, readdir } from 'node:fs/promises';

/** Writes a file that repeats `data`. */
export async function writeLargeFile(path: string, data: Uint8Array, lengthBytes: number): Promise<void> {
  const handle = await open(path, 'wx');
  try {
    for (let at = 0; at < lengthBytes; at += data.byteLength) {
      await handle.write(data, 0, Math.min(data.byteLength, lengthBytes - at), at);
    }
  } finally {
    await handle.close();
  }
}

/** Cuts `data` into `count` files in a new folder. */
export async function writeSmallFiles(
  folder: string,
  data: Uint8Array,
  { count, lengthBytes }: { readonly count: number; readonly lengthBytes: number },
): Promise<void> {
  await mkdir(folder);
  for (let index = 0; index < count; index += 1) {
    const handle = await open(`${folder}/file-${String(index).padStart(6, '0')}`, 'wx');
    try {
      await handle.write(data, (index * lengthBytes) % (data.byteLength - lengthBytes), lengthBytes, 0);
    } finally {
      await handle.close();
    }
  }
}

const CHUNK_BYTES = 4 * 1024 * 1024;

/** Throws when two files differ. */
export async function requireSameFile(left: string, right: string): Promise<void> {
  const handles = await Promise.all([open(left), open(right)]);
  try {
    const buffers = handles.map(() => Buffer.allocUnsafe(CHUNK_BYTES));
    for (let at = 0; ; ) {
      const [first, second] = await Promise.all(
        handles.map(async (handle, side) => {
          const buffer = buffers[side]!;
          const { bytesRead } = await handle.read(buffer, 0, CHUNK_BYTES, at);
          return buffer.subarray(0, bytesRead);
        }),
      );
      if (first === undefined || second === undefined || !first.equals(second)) {
        throw new Error(`${left} and ${right} differ`);
      }
      if (first.byteLength === 0) return;
      at += first.byteLength;
    }
  } finally {
    for (const handle of handles) await handle.close();
  }
}

/** Throws when two trees of files differ. */
export async function requireSameFolder(left: string, right: string): Promise<void> {
  const [entries, others] = await Promise.all([left, right].map(listTree));
  if (entries?.join('\n') !== others?.join('\n')) throw new Error(`${left} and ${right} hold other names`);
  for (const name of entries ?? [])
    if (!name.endsWith('/')) await requireSameFile(`${left}/${name}`, `${right}/${name}`);
}

/** Lists all names below a folder, those of folders with a "/" at the end. */
async function listTree(path: string): Promise<string[]> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  return entries
    .map(entry => `${entry.parentPath.slice(path.length)}/${entry.name}${entry.isDirectory() ? '/' : ''}`)
    .sort();
}
