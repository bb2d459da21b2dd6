/** The option `--delete` of `netseal put` and `netseal get`: when it is allowed, and how it asks. */
import { requireArgument } from '../../base/errors.ts';
import type { Extra } from '../../transfer/put-options.ts';
import { canConfirm, confirm } from '../lib/confirm.ts';
import { formatCount } from '../lib/sizes.ts';
import type { CopyOptions, SelectOptions } from './copy-options.ts';
import type { CopyFrame } from './copying.ts';

const SHOWN_MAX = 20;

/** EINVAL for a `--delete` without folders, or without a terminal to ask on. */
export function requireRemovable(options: CopyOptions & SelectOptions): void {
  const { recursive, dryRun, yes } = options;
  if (options.delete !== true) return;
  requireArgument(recursive === true, '--delete works on folders: add -r');
  const mustAsk = yes !== true && dryRun !== true;
  requireArgument(!mustAsk || canConfirm(), 'there is no terminal to ask on: give --yes to remove without');
}

/**
 * Returns the function that asks before something is removed; undefined without `--delete`.
 *
 * @param show returns a path as it is shown to the user.
 */
export function askToRemove(
  options: SelectOptions,
  { signal, pauseProgress }: Pick<CopyFrame, 'signal' | 'pauseProgress'>,
  show: (path: Extra['path']) => string,
): ((extras: readonly Extra[]) => Promise<boolean>) | undefined {
  if (options.delete !== true) return undefined;
  return async extras => {
    if (options.yes === true) return true;
    pauseProgress();
    for (const { path, isFolder } of extras.slice(0, SHOWN_MAX)) {
      process.stderr.write(`${show(path)}${isFolder ? '/' : ''}\n`);
    }
    const more = extras.length - SHOWN_MAX;
    if (more > 0) process.stderr.write(`and ${more.toLocaleString('en-US')} more\n`);
    await confirm(`Remove ${formatCount(extras.length, 'path')}, which the source lacks?`, signal);
    return true;
  };
}
