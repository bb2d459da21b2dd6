/** A tree of source code to measure on: what the packages of this checkout hold. */
import { copyFile, mkdir, readdir, stat } from 'node:fs/promises';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';

const PACKAGES: string = fileURLToPath(new URL('../node_modules', import.meta.url));
const EXTENSIONS = 'ts mts cts tsx js mjs cjs jsx map json md css scss h hh cc';
const SOURCES: ReadonlySet<string> = new Set(EXTENSIONS.split(' ').map(extension => `.${extension}`));
/** Larger files are left out, as in the tests of real trees: bundles would weigh more than all else. */
const FILE_BYTES_MAX: number = 128 * 1024;

export interface SourceTree {
  readonly files: readonly string[];
  readonly folderCount: number;
  readonly bytes: number;
}

/**
 * Copies source files, folder by folder, in the order of their names, to a new folder.
 *
 * @param filesMax it ends after so many. Fewer are copied only if there are no more.
 */
export async function copySourceTree(target: string, filesMax: number): Promise<SourceTree> {
  const files: string[] = [];
  let folderCount = 0;
  let bytes = 0;
  const visit = async (from: string, to: string): Promise<void> => {
    await mkdir(to);
    folderCount += 1;
    const entries = await readdir(from, { withFileTypes: true });
    entries.sort((left, right) => (left.name < right.name ? -1 : 1));
    for (const entry of entries) {
      if (files.length >= filesMax) return;
      // What tools have put there is no package's.
      if (entry.name === '.cache') continue;
      const [source, copy] = [`${from}/${entry.name}`, `${to}/${entry.name}`];
      if (entry.isDirectory()) await visit(source, copy);
      if (!entry.isFile() || !SOURCES.has(extname(entry.name))) continue;
      const { size } = await stat(source);
      if (size > FILE_BYTES_MAX) continue;
      await copyFile(source, copy);
      files.push(copy);
      bytes += size;
    }
  };
  await visit(PACKAGES, target);
  return { files, folderCount, bytes };
}
