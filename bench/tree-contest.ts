/**
 * Copies a tree in and out, in turns with `cp -r` on the same files. Each is measured inside an open process
 * and as a whole command.
 */
import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { promisify } from 'node:util';
import { runCommand } from './command.ts';
import { type ContestResult, contest } from './contest.ts';
import { requireSameFolder } from './files.ts';
import { inEachPlace, type PlaceName } from './places.ts';
import type { TargetSize } from './target.ts';
import { type OpenVolume, VolumeSide } from './volume-side.ts';

const run = promisify(execFile);

/** A folder of files, and an empty volume. */
export interface TreeSides {
  readonly side: VolumeSide;
  readonly source: string;
  readonly copy: string;
  readonly got: string;
  readonly rounds: number;
}

export interface TreeSetting {
  readonly size: TargetSize;
  readonly roomBytes: number;
  /** Where to measure. Default: everywhere. */
  readonly place?: PlaceName;
  /** Makes the folder to copy. */
  readonly write: (source: string) => Promise<unknown>;
}

/** Makes both sides in each place, and removes them after `measure`. */
export function withTree<Result>(
  { size, roomBytes, place: only, write }: TreeSetting,
  measure: (sides: TreeSides, place: PlaceName) => Promise<readonly Result[]>,
): Promise<Result[]> {
  return inEachPlace(roomBytes, async (folder, place) => {
    if (only !== undefined && place !== only) return [];
    const source = `${folder}/source`;
    await write(source);
    const side = await VolumeSide.create(`${folder}/volume`);
    const rounds = size === 'real' ? 5 : 1;
    try {
      return await measure({ side, source, copy: `${folder}/copy`, got: `${folder}/got`, rounds }, place);
    } finally {
      await side.stop();
    }
  });
}

/** Copies with `cp -r`. `isSynced`: also calls fsync on every file, in one process: nothing as safe is faster. */
async function copyTree(source: string, copy: string, isSynced: boolean): Promise<void> {
  if (isSynced)
    await run('sh', ['-c', 'cp -r "$0" "$1" && find "$1" -type f -print0 | xargs -0 sync', source, copy]);
  else await run('cp', ['-r', source, copy]);
}

async function removeCopies({ copy, got }: TreeSides): Promise<void> {
  await rm(copy, { recursive: true, force: true });
  await rm(got, { recursive: true, force: true });
}

/** Has `get -r` and `cp -r` take turns, from a volume that holds the tree as `/files`. */
export async function contestGet(sides: TreeSides): Promise<ContestResult> {
  const { side, source, copy, got, rounds } = sides;
  const prepare = (): Promise<void> => removeCopies(sides);
  const reader = await side.open('reader');
  await reader.get('/files', got);
  await requireSameFolder(source, got);
  const result = await contest(
    [
      { name: 'cp -r', prepare, run: () => copyTree(source, copy, false) },
      { name: 'get -r', prepare, run: () => reader.get('/files', got) },
      {
        name: 'the whole command',
        prepare,
        run: async () => {
          await runCommand(['get', '-r', `${side.store}:/files`, got, ...side.cliArguments]);
        },
      },
    ],
    rounds,
  );
  await requireSameFolder(source, got);
  await reader.close();
  await prepare();
  return result;
}

/** The name of the contender that {@link contestPut} compares with. */
export function copyName(isSynced: boolean): string {
  return isSynced ? 'cp -r and fsync' : 'cp -r';
}

/** Has `put -r` into an empty volume and `cp -r` take turns. */
export async function contestPut(sides: TreeSides, isSynced: boolean): Promise<ContestResult> {
  const { side, source, copy, rounds } = sides;
  let open: OpenVolume | undefined;
  const emptyVolume = async (): Promise<void> => {
    await open?.close();
    open = undefined;
    await rm(side.store, { recursive: true });
    await rm(`${side.state}-client`, { recursive: true, force: true });
    await rm(`${side.state}-cli`, { recursive: true, force: true });
    await side.renew();
  };
  const result = await contest(
    [
      {
        name: copyName(isSynced),
        prepare: () => removeCopies(sides),
        run: () => copyTree(source, copy, isSynced),
      },
      {
        name: 'put -r',
        prepare: async () => {
          await emptyVolume();
          open = await side.open();
        },
        run: async () => open?.put(source, '/files'),
      },
      {
        name: 'the whole command',
        prepare: emptyVolume,
        run: async () => {
          await runCommand(['put', '-r', source, `${side.store}:/files`, ...side.cliArguments]);
        },
      },
    ],
    rounds,
  );
  await open?.close();
  await removeCopies(sides);
  return result;
}

/** Returns the files a second of each contender, in words. */
export function fileRates(count: number, { seconds }: ContestResult): string {
  const each = [...seconds].map(([name, value]) => `${name} ${(count / value).toFixed(0)}`);
  return `files/s: ${each.join(', ')}`;
}
