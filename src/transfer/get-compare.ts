/** Decides whether a local file is the same as the volume's, so that `get` can leave it as it is. */
import { isNetsealError } from '../base/errors.ts';
import type { Name } from '../base/name.ts';
import type { DeviceInode, FileInode, Inode, PipeInode } from '../server/sealed/inode.ts';
import { isDevice } from '../server/sealed/inode-body.ts';
import type { Found } from '../volume/names/path-walk.ts';
import type { Volume } from '../volume/volume.ts';
import type { LocalStat } from './local-calls.ts';
import type { LocalFile } from './local-source.ts';
import type { TargetFolder } from './local-target.ts';
import { KeptTimes } from './local-times.ts';
import { hasSameContent } from './same.ts';

export interface CompareSettings {
  /** Compares content whatever the times say. */
  readonly checksum: boolean;
  /** Writes no file to find out what times are kept here, and guesses instead. */
  readonly isReadOnly: boolean;
  readonly signal: AbortSignal | undefined;
}

/** A file in a local folder, and the file of the volume that it should be. */
export interface Pair {
  readonly folder: TargetFolder;
  readonly name: Name;
  readonly existing: LocalStat;
  readonly inode: FileInode;
  readonly place: Pick<Found, 'parent' | 'entry'>;
}

export class GetCompare {
  readonly #volume: Volume;
  readonly #settings: CompareSettings;
  readonly #times: KeptTimes;

  constructor(volume: Volume, settings: CompareSettings) {
    this.#volume = volume;
    this.#settings = settings;
    this.#times = new KeptTimes(settings.isReadOnly);
  }

  /**
   * True when the sizes are equal, and yet only the content can decide: comparing was asked for, or the file
   * of the volume was changed in some way after the local one was written.
   */
  needsContent({ existing, inode }: Pick<Pair, 'existing' | 'inode'>): boolean {
    if (existing.type !== 'file' || existing.sizeBytes !== inode.sizeBytes) return false;
    return this.#settings.checksum || inode.ctimeNs > existing.ctimeNs;
  }

  /** Compares type, size, time (unless `checksum` is set), and the content if it {@link needsContent}. */
  async isSame(pair: Pair): Promise<boolean> {
    const { folder, name, existing, inode, place } = pair;
    if (existing.type !== 'file' || existing.sizeBytes !== inode.sizeBytes) return false;
    if (!this.#settings.checksum && !this.hasTime(folder, existing, inode)) return false;
    if (!this.needsContent(pair)) return true;
    const { parent, entry } = place;
    if (parent === undefined || entry === undefined) return false;
    const file = openToRead(folder, name);
    if (file === undefined) return false;
    try {
      return await hasSameContent(
        this.#volume,
        inode,
        { directory: parent, entry },
        file,
        this.#settings.signal,
      );
    } finally {
      file.close();
    }
  }

  /** True when a local entry has the time of the volume's, as far as its file system can keep that. */
  hasTime(folder: TargetFolder, { device, mtimeNs }: LocalStat, inode: Inode): boolean {
    return this.#times.isKept(folder, device, mtimeNs, inode.mtimeNs);
  }

  /** True when a local entry is this FIFO or device. Its attributes may differ. */
  isSpecial(existing: LocalStat, inode: PipeInode | DeviceInode): boolean {
    if (existing.type !== inode.type) return false;
    return !isDevice(inode) || (existing.major === inode.major && existing.minor === inode.minor);
  }

  close(): void {
    this.#times.close();
  }
}

/** Opens a local file. Undefined when it may not be read: then it is written anew. */
function openToRead(folder: TargetFolder, name: Name): LocalFile | undefined {
  try {
    return folder.openFile(name);
  } catch (error) {
    if (!isNetsealError(error)) throw error;
    return undefined;
  }
}
