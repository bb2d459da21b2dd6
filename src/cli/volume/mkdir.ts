/** `netseal mkdir`: new folders in a volume. */
import { Command } from 'commander';
import { isNetsealError, requireArgument } from '../../base/errors.ts';
import { endsInFolder, parsePath, toBytesName } from '../../volume/names/name-checks.ts';
import { newAttributes } from '../../volume/new-attributes.ts';
import type { Volume } from '../../volume/volume.ts';
import { jsonDocument } from '../lib/json.ts';
import { valueOption } from '../lib/value-options.ts';
import { eachPath, isFolder } from './each-path.ts';
import { at, failAt } from './path-errors.ts';
import {
  childPath,
  type PathOptions,
  pathBytes,
  showPath,
  type VolumePath,
  withPathOptions,
} from './paths.ts';

interface MkdirOptions extends PathOptions {
  readonly parents?: boolean;
  readonly mode?: number;
}

/** `netseal mkdir STORE:/path...` */
export function command(): Command {
  const mkdir = new Command('mkdir')
    .description('Make folders in a volume.')
    .argument('<path...>', 'STORE:/path')
    .option('-p, --parents', 'also make the folders on the way; an existing folder is no error')
    .addOption(
      valueOption(
        '-m, --mode <octal>',
        'permissions of the new folder (default: 777 without the umask)',
        parseMode,
      ),
    );
  return withPathOptions(mkdir).action(makeFolders);
}

/** Reads 0 to 7777 in octal digits. EINVAL for anything else. */
function parseMode(text: string, option: string): number {
  requireArgument(
    /^[0-7]{1,4}$/.test(text),
    `${option}: write permissions in octal, for example 755, not "${text}"`,
  );
  return Number.parseInt(text, 8);
}

function makeFolders(texts: readonly string[], options: MkdirOptions): Promise<void> {
  const defaultMode = 0o777 & ~process.umask();
  const { parents = false, mode = defaultMode, json = false } = options;
  const made: string[] = [];
  return eachPath(texts, options, ({ volume, report }) => ({
    each: path =>
      parents ? makeAll(volume, path, mode, defaultMode, made) : makeOne(volume, path, mode, made),
    end: () => {
      if (json) report(jsonDocument({ made }));
    },
  }));
}

/** Makes each folder on the way that does not exist, then the last one. */
async function makeAll(
  volume: Volume,
  path: VolumePath,
  mode: number,
  parentMode: number,
  made: string[],
): Promise<void> {
  const names = parsePath(pathBytes(path));
  let current: VolumePath = { ...path, path: toBytesName('/') };
  // ENOTDIR when the path ends in `/` and something else than a folder has the name.
  if (endsInFolder(pathBytes(path))) await isFolder(volume, path);
  for (const [index, name] of names.entries()) {
    current = childPath(current, name);
    if (await isFolder(volume, current)) continue;
    try {
      await makeOne(volume, current, index === names.length - 1 ? mode : parentMode, made);
    } catch (error) {
      // Another client may have made it meanwhile.
      const isThere = isNetsealError(error) && error.code === 'EEXIST' && (await isFolder(volume, current));
      if (!isThere) throw error;
    }
  }
}

async function makeOne(volume: Volume, path: VolumePath, mode: number, made: string[]): Promise<void> {
  const { directory, name } = await at(path, placeOf(volume, path));
  const child = volume.namespace.newDirectory(newAttributes(mode), directory.id);
  await at(path, volume.namespace.insertDirectory(directory, name, child));
  made.push(showPath(path));
}

async function placeOf(volume: Volume, path: VolumePath): ReturnType<Volume['place']> {
  const place = await findPlace(volume, path);
  // Checked before anything is put into the store.
  if ((await volume.namespace.find(place.directory, place.name)) !== undefined) {
    throw failAt(path, 'EEXIST', 'this already exists: choose another path, or -p to use the folder');
  }
  return place;
}

async function findPlace(volume: Volume, path: VolumePath): ReturnType<Volume['place']> {
  try {
    return await volume.place(pathBytes(path), { forFolder: true });
  } catch (error) {
    if (!isNetsealError(error) || error.code !== 'ENOENT') throw error;
    throw failAt(
      path,
      'ENOENT',
      'the folder to make it in does not exist; -p also makes the folders on the way',
    );
  }
}
