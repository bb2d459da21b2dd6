/** The inode of a file that a program has open: found by its id, whatever becomes of its names. */
import { codeOf } from '../../base/errors.ts';
import type { Attributes, FileInode } from '../../server/sealed/inode.ts';
import type { FilePlace, PlaceParts } from '../names/file-place.ts';
import { changeOpenFile, readOpenFile } from '../names/open-file.ts';
import type { OpenPlace } from '../names/open-places.ts';
import { nowNs } from '../session/session.ts';

export class OpenInode {
  readonly #parts: PlaceParts;
  readonly #place: OpenPlace;
  /** The inode as it was last seen. Nothing else is left of a file without a name. */
  #last: FileInode;
  #isClosed = false;

  /** @param inode as it was just found at `at`. */
  constructor(parts: PlaceParts, at: FilePlace, inode: FileInode) {
    this.#parts = parts;
    this.#place = parts.inodes.openPlaces.open(at, at.id);
    this.#place.object ??= at.object;
    this.#last = inode;
  }

  /**
   * Returns the inode as it is now. For a file without a name, returns the last one seen, with a link count
   * of 0.
   */
  async read(): Promise<FileInode> {
    try {
      this.#last = await readOpenFile(this.#parts, this.#place);
    } catch (error) {
      this.#noteRemoved(error);
    }
    return this.#last;
  }

  /** Changes attributes. Those of a file without a name last until it is closed. */
  async change(attributes: Partial<Attributes>): Promise<void> {
    const patch = { ...attributes, ctimeNs: nowNs(this.#parts.session) };
    try {
      this.#last = await changeOpenFile(this.#parts, this.#place, () => ({ patch }));
    } catch (error) {
      this.#noteRemoved(error);
      this.#last = { ...this.#last, ...patch };
    }
  }

  /** Calling it again does nothing. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#parts.inodes.openPlaces.close(this.#place);
  }

  #noteRemoved(error: unknown): void {
    if (!this.#place.isRemoved || codeOf(error) !== 'EMISSING') throw error;
    this.#last = { ...this.#last, linkCount: 0 };
  }
}
