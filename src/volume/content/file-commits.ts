/**
 * The commits of one file that is being written. The first commit of a new file gives it its name. A file
 * that is committed again and again becomes an object of its own, so that its folder is not written each
 * time.
 */
import type { Id } from '../../base/ids.ts';
import type { FileInode } from '../../server/sealed/inode.ts';
import {
  changePlaced,
  type FilePlace,
  isEmbeddable,
  type PlaceParts,
  promotePlaced,
} from '../names/file-place.ts';
import type { Namespace, PutOptions } from '../names/namespace.ts';
import { type ContentCommit, commitContent } from './commit-content.ts';
import { firstVersion } from './file-content.ts';

export interface FileCommitParts extends PlaceParts {
  readonly names: Namespace;
  /** Takes over work that only `Volume.sync` waits for. */
  inBackground(work: Promise<void>): void;
}

export interface NewFileOptions {
  /** The first commit gives the file its name. */
  readonly isNew?: boolean | undefined;
  /** Whether the name of a new file may be taken from another file. */
  readonly replace?: boolean | undefined;
  /** See the options of `Namespace.insert`. */
  readonly check?: PutOptions['check'];
}

/** From so many commits on, a file becomes an object of its own. */
const PROMOTED_AFTER = 3;

/** Makes a file that is committed again and again an object of its own, in the background. */
export class FilePromotion {
  readonly #parts: FileCommitParts;
  readonly #place: FilePlace;
  #commitCount = 0;
  #isPromoting = false;

  constructor(parts: FileCommitParts, place: FilePlace) {
    this.#parts = parts;
    this.#place = place;
  }

  /** Counts a commit. */
  noteCommit(committed: FileInode): void {
    this.#commitCount += 1;
    const isObject = this.#place.object !== undefined;
    if (isObject || this.#isPromoting || this.#commitCount < PROMOTED_AFTER) return;
    if (!isEmbeddable(committed)) return;
    this.#isPromoting = true;
    const { inBackground } = this.#parts;
    inBackground(
      promotePlaced(this.#parts, this.#place).finally(() => {
        this.#isPromoting = false;
      }),
    );
  }
}

export class FileCommits {
  readonly #parts: FileCommitParts;
  readonly #place: FilePlace;
  readonly #options: Pick<NewFileOptions, 'replace' | 'check'>;
  readonly #promotion: FilePromotion;
  #isNew: boolean;

  constructor(parts: FileCommitParts, place: FilePlace, { isNew = false, ...options }: NewFileOptions) {
    this.#parts = parts;
    this.#place = place;
    this.#isNew = isNew;
    this.#options = options;
    this.#promotion = new FilePromotion(parts, place);
  }

  /** True until the first commit of a new file has been tried. */
  get isNew(): boolean {
    return this.#isNew;
  }

  /**
   * Commits content that was made from the inode as it was committed last. Rejects as {@link commitContent}
   * does; with ENOENT when the name does not lead to the file any more; for a new file with EEXIST, EISDIR.
   */
  async commit(commit: ContentCommit): Promise<FileInode> {
    let committed: FileInode;
    if (this.#isNew) {
      this.#isNew = false;
      const { base, content, times, segments } = commit;
      committed = await this.#create(firstVersion({ ...base, ...times }, content), segments);
    } else {
      committed = await commitContent(
        this.#parts.session,
        change => changePlaced<FileInode>(this.#parts, this.#place, change),
        commit,
      );
    }
    this.#promotion.noteCommit(committed);
    return committed;
  }

  async #create(inode: FileInode, segments: ReadonlySet<Id>): Promise<FileInode> {
    const { directory, name } = this.#place;
    const { names } = this.#parts;
    await names.changing(directory, () =>
      names.insert(directory, name, inode, { ...this.#options, segments }),
    );
    return inode;
  }
}
