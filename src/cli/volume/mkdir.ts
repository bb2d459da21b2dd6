/** `netseal mkdir`: new folders in a volume. */
import { Command, Option } from 'commander';
import { isNetsealError, requireArgument } from '../../base/errors.ts';
import { parsePath, toBytesName } from '../../volume/names/name-checks.ts';
import type { Volume } from '../../volume/volume.ts';
import { toJson } from '../lib/display.ts';
import { withInterrupt } from '../lib/interrupt.ts';
import { newAttributes } from './attributes.ts';
import { Failures } from './failures.ts';
import {
  at,
  childPath,
  failAt,
  isFolder,
  type PathOptions,
  parseVolumePath,
  pathBytes,
  showPath,
  type VolumePath,
  withPathOptions,
  withVolumePaths,
} from './paths.ts';

interface MkdirOptions extends PathOptions {
  readonly parents?: boolean;
  readonly mode?: number;
}

/** `netseal mkdir STORE:/path...` */
export function mkdirCommand(): Command {
  const command = new Command('mkdir')
    .description('Make folders in a volume.')
    .argument('<path...>', 'STORE:/path')
    .option('-p, --parents', 'also the folders on the way; one that is there is no error')
    .addOption(
      new Option(
        '-m, --mode <octal>',
        'permissions of the new folder (default: 777 without the umask)',
      ).argParser(parseMode),
    );
  return withPathOptions(command).action(mkdir);
}

/** EINVAL unless it is 0 to 7777 in octal digits. */
function parseMode(text: string): number {
  requireArgument(/^[0-7]{1,4}$/.test(text), `--mode: write permissions in octal, as 755, not "${text}"`);
  return Number.parseInt(text, 8);
}

function mkdir(texts: readonly string[], options: MkdirOptions): Promise<void> {
  const paths = texts.map(text => parseVolumePath(text, options));
  const defaultMode = 0o777 & ~process.umask();
  const { parents = false, mode = defaultMode, json } = options;
  return withInterrupt(signal =>
    withVolumePaths(paths, { workers: 0, ...options }, signal, async ({ volume }) => {
      const failures = new Failures();
      const made: string[] = [];
      for (const path of paths) {
        signal.throwIfAborted();
        try {
          if (parents) await makeAll(volume, path, mode, defaultMode, made);
          else await makeOne(volume, path, mode, made);
        } catch (error) {
          failures.add(path, error);
        }
      }
      if (json === true) process.stdout.write(`${toJson({ made }, 2)}\n`);
      failures.report();
    }),
  );
}

/** Each folder on the way that is not there, then the last one. */
async function makeAll(
  volume: Volume,
  path: VolumePath,
  mode: number,
  parentMode: number,
  made: string[],
): Promise<void> {
  const names = parsePath(pathBytes(path));
  let current: VolumePath = { ...path, path: toBytesName('/') };
  for (const [index, name] of names.entries()) {
    current = childPath(current, name);
    if (await isFolder(volume, current)) continue;
    try {
      await makeOne(volume, current, index === names.length - 1 ? mode : parentMode, made);
    } catch (error) {
      // Somebody else may want the same.
      const isThere = isNetsealError(error) && error.code === 'EEXIST' && (await isFolder(volume, current));
      if (!isThere) throw error;
    }
  }
}

async function makeOne(volume: Volume, path: VolumePath, mode: number, made: string[]): Promise<void> {
  const { directory, name } = await at(path, placeOf(volume, path));
  const child = volume.names.newDirectory(newAttributes(mode), directory.id);
  await at(path, volume.names.insertDirectory(directory, name, child));
  made.push(showPath(path));
}

async function placeOf(volume: Volume, path: VolumePath): ReturnType<Volume['place']> {
  const place = await findPlace(volume, path);
  // Before anything is put into the store.
  if ((await volume.names.find(place.directory, place.name)) !== undefined) {
    throw failAt(path, 'EEXIST', 'something is there already');
  }
  return place;
}

async function findPlace(volume: Volume, path: VolumePath): ReturnType<Volume['place']> {
  try {
    return await volume.place(pathBytes(path));
  } catch (error) {
    if (!isNetsealError(error) || error.code !== 'ENOENT') throw error;
    throw failAt(path, 'ENOENT', 'there is no such folder to make it in; -p makes those on the way');
  }
}
