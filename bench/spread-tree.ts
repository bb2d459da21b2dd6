/**
 * Makes trees with so many folders, of source files that are taken from all over this checkout's `node_modules`.
 */

import { globSync, statSync } from 'node:fs';
import { copyFile, mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

/** Every folder but the first lies in an earlier one, which has at most this many folders. */
const FOLDERS_PER_FOLDER = 10;
/** Larger files are data, or bundles of many files. */
const FILE_BYTES_MAX: number = 256 * 1024;
const PATTERN = '**/*.{js,mjs,cjs,ts,mts,json,md}';
const NODE_MODULES: string = fileURLToPath(new URL('../node_modules', import.meta.url));

export interface SpreadTree {
  readonly files: number;
  readonly folders: number;
}

/** What was written: fewer or more bytes with other versions of the packages. */
export interface WrittenTree extends SpreadTree {
  readonly bytes: number;
}

/**
 * Writes a tree in the new folder `path`, which counts as one of its folders. The files are spread evenly over
 * all folders. The same packages make the same tree.
 */
export async function writeSpreadTree(path: string, { files, folders }: SpreadTree): Promise<WrittenTree> {
  const sources = sourceFiles(files);
  const paths: string[] = [path];
  await mkdir(path);
  for (let at = 1; at < folders; at += 1) {
    const parent = paths[Math.floor((at - 1) / FOLDERS_PER_FOLDER)] ?? path;
    const folder = `${parent}/part-${at}`;
    await mkdir(folder);
    paths.push(folder);
  }
  let bytes = 0;
  for (let at = 0; at < files; at += 1) {
    const source = sources[at % sources.length];
    // Neighbours in a folder are neighbours in their package.
    const folder = paths[Math.floor((at * folders) / files)];
    if (source === undefined || folder === undefined) throw new Error(`no source files in ${NODE_MODULES}`);
    const name = source.slice(source.lastIndexOf('/') + 1);
    await copyFile(`${NODE_MODULES}/${source}`, `${folder}/${at}-${name}`);
    bytes += statSync(`${NODE_MODULES}/${source}`).size;
  }
  return { files, folders, bytes };
}

/** Returns paths below `node_modules`, by name, spread evenly over all that there are. */
function sourceFiles(count: number): string[] {
  // What tools have put into `.cache` is no package's.
  const all = globSync(PATTERN, { cwd: NODE_MODULES, exclude: ['.cache'] })
    .filter(path => {
      const stats = statSync(`${NODE_MODULES}/${path}`);
      return stats.isFile() && stats.size <= FILE_BYTES_MAX;
    })
    .sort();
  const chosen = Math.min(count, all.length);
  const runs = Math.max(1, Math.floor(all.length / chosen));
  return all.filter((_, at) => at % runs === 0).slice(0, chosen);
}
