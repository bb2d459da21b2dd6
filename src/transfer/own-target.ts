/** Keeps `get` out of folders that netseal itself uses. */
import { NetsealError } from '../base/errors.ts';
import { showName } from './local-names.ts';
import type { TargetFolder } from './local-target.ts';
import type { OwnStorage } from './own-storage.ts';

/** EINVAL for a folder that netseal itself uses, wherever it is mounted. */
export function requireForeign(folder: TargetFolder, own: OwnStorage): void {
  const what = folder.whatOfOurs(own);
  if (what === undefined) return;
  throw new NetsealError('EINVAL', `cannot write to ${showName(folder.path)}: it belongs to ${what}`);
}
