/** The options of `get`. */
import type { ClientState } from '../volume/state/client-state.ts';
import type { CopyOptions } from './copying.ts';
import type { FoldingRules } from './local-folding.ts';
import type { Extra } from './put-options.ts';

export interface GetOptions extends CopyOptions {
  /** Restores owners as well, and what depends on them: see `RestoreOptions`. */
  readonly owner?: boolean | undefined;
  /** Makes devices as well, which takes the rights for that. Default: they are noted. */
  readonly devices?: boolean | undefined;
  /** Where journals of large files are kept. Without it an interrupted one begins anew. */
  readonly state?: ClientState | undefined;
  /** Which names count as the same in the target. Default: the file system is asked. */
  readonly folding?: FoldingRules | undefined;
  /**
   * Asked whether to remove what is in the target folders and not in the volume. It is called once, after the
   * rest was copied without a failure, if there is anything to remove. Without it, nothing is removed.
   */
  readonly mayRemove?: ((extras: readonly Extra[]) => Promise<boolean>) | undefined;
}
