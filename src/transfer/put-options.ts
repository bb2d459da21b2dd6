/** The options of `put`. */
import type { Name } from '../base/name.ts';
import type { ClientState } from '../volume/state/client-state.ts';
import type { CopyOptions } from './copying.ts';

/** Something in a target folder that the source lacks. */
export interface Extra {
  /** Its path, in the volume or on this machine. */
  readonly path: Name;
  readonly isFolder: boolean;
}

export interface PutOptions extends CopyOptions {
  /**
   * Takes a file of the same size and modification time for unchanged, whatever its status time (ctime): for
   * a tree that was copied or restored as a whole.
   */
  readonly ignoreCtime?: boolean | undefined;
  /** Copies devices as well. Default: they are noted. */
  readonly devices?: boolean | undefined;
  /** Keeps the access times of what is copied. One that differs alone is no change. Default: false. */
  readonly atime?: boolean | undefined;
  /** Where journals of large files are kept. Without it an interrupted upload starts over. */
  readonly state?: ClientState | undefined;
  /**
   * Asked whether to remove what is in the target folders and not in the source. It is called once, after the
   * rest was copied without a failure, if there is anything to remove. Without it, nothing is removed.
   */
  readonly mayRemove?: ((extras: readonly Extra[]) => Promise<boolean>) | undefined;
}
