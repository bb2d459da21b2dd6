/**
 * Decides whether a local file has the time of its original, as far as its file system can keep that time.
 * Some keep only whole or even seconds, and none keeps every year.
 */
import * as fs from 'node:fs';
import { isNetsealError, systemCodeOf } from '../base/errors.ts';
import { setTimes, statOf } from './local-calls.ts';
import { isSameTime } from './local-restore.ts';
import type { TargetFolder } from './local-target.ts';

const SECOND_NS = 1_000_000_000n;
/** FAT keeps even seconds; no file system that is in use is coarser. */
export const COARSEST_STEP_NS: bigint = 2n * SECOND_NS;

/** Finds out how exactly file systems keep times, by a nameless file in each, which is made when needed. */
export class KeptTimes {
  /** By device; undefined where no file can be made. */
  readonly #probes = new Map<number, number | undefined>();

  readonly #isReadOnly: boolean;

  /**
   * @param isReadOnly true to make no file. Then a time in whole seconds counts as kept when it is less than
   *   2 s before the wanted one.
   */
  constructor(isReadOnly = false) {
    this.#isReadOnly = isReadOnly;
  }

  /**
   * True when a file that was given the time `wantedNs` would have the time `isNs` on this file system.
   *
   * @param folder any folder of the file system `device`.
   */
  isKept(folder: TargetFolder, device: number, isNs: bigint, wantedNs: bigint): boolean {
    if (isSameTime(isNs, wantedNs)) return true;
    if (!this.#isReadOnly) return this.#keep(folder, device, wantedNs) === isNs;
    return isNs % SECOND_NS === 0n && isNs <= wantedNs && wantedNs - isNs < COARSEST_STEP_NS;
  }

  close(): void {
    for (const fd of this.#probes.values()) if (fd !== undefined) fs.closeSync(fd);
    this.#probes.clear();
  }

  #keep(folder: TargetFolder, device: number, timeNs: bigint): bigint | undefined {
    if (!this.#probes.has(device)) this.#probes.set(device, createProbe(folder));
    const fd = this.#probes.get(device);
    if (fd === undefined) return undefined;
    try {
      setTimes(fd, { mtimeNs: timeNs });
      return statOf(fd).mtimeNs;
    } catch (error) {
      if (systemCodeOf(error) === undefined) throw error;
      return undefined;
    }
  }
}

function createProbe(folder: TargetFolder): number | undefined {
  try {
    return folder.createNameless();
  } catch (error) {
    if (!isNetsealError(error)) throw error;
    // If something is wrong with the folder, writing into it will report that.
    return undefined;
  }
}
