/**
 * The frame of all commands that take paths in a volume: they open the volume of their paths, stop at Ctrl-C,
 * go on past a path that fails, print their result, and list the failures at the end.
 */
import { isNetsealError } from '../../base/errors.ts';
import type { Volume } from '../../volume/volume.ts';
import { type Frame, inFrame } from '../lib/frame.ts';
import { Failures } from './failures.ts';
import { type VolumeAccess, withVolume } from './opening.ts';
import { errorAt } from './path-errors.ts';
import { commonStore, type PathOptions, parseVolumePath, pathBytes, type VolumePath } from './paths.ts';

export interface PathFrame extends VolumeAccess, Frame {
  /** A command adds failures below its paths here. Those of a path itself it only throws. */
  readonly failures: Failures;
  /** Does `work` for one path after the other. A failure is kept, and the next path is done. */
  each(paths: readonly VolumePath[], work: (path: VolumePath) => Promise<void>): Promise<void>;
}

/** What a command does with its paths. */
export interface PathWork {
  /** Called for one path after the other. When it rejects, the failure is kept, and the next path is done. */
  each(path: VolumePath): Promise<void>;
  /** Called after the last path: prints what is left to print. */
  end(): void | Promise<void>;
}

/**
 * Runs a command that does the same for each of its paths.
 *
 * @param texts paths as they were typed. EINVAL when one has no store, or when they are in several stores.
 * @param begin returns the work, once the volume is open.
 */
export function eachPath(
  texts: readonly string[],
  options: PathOptions,
  begin: (frame: PathFrame) => PathWork,
): Promise<void> {
  const paths = texts.map(text => parseVolumePath(text, options));
  return onPaths(paths, { workers: 0, ...options }, async frame => {
    const work = begin(frame);
    await frame.each(paths, path => work.each(path));
    await work.end();
  });
}

/**
 * Runs a command whose paths have different parts: opens the volume that they are all in, and reports
 * failures afterwards.
 */
export function onPaths(
  paths: readonly VolumePath[],
  options: PathOptions,
  work: (frame: PathFrame) => Promise<void>,
): Promise<void> {
  return inFrame(async frame => {
    const { signal } = frame;
    const location = { storeText: await commonStore(paths), path: undefined };
    await withVolume(location, options, signal, async access => {
      const failures = new Failures();
      const each: PathFrame['each'] = async (those, workOn) => {
        for (const path of those) {
          signal.throwIfAborted();
          try {
            await workOn(path);
          } catch (error) {
            failures.add(path, error);
          }
        }
      };
      await work({ ...access, ...frame, failures, each });
      failures.report();
    });
  });
}

/** True when a path leads to a folder, also through a symbolic link. False when nothing is there. */
export async function isFolder(volume: Volume, path: VolumePath): Promise<boolean> {
  try {
    return (await volume.find(pathBytes(path), { follow: true })).inode.type === 'directory';
  } catch (error) {
    if (isNetsealError(error) && error.code === 'ENOENT') return false;
    throw errorAt(path, error);
  }
}
