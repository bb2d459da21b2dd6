/** Paths on this machine as they are typed. */
import { requireArgument } from '../../base/errors.ts';
import { nameBytes } from '../../volume/names/name-checks.ts';
import { unescapeName } from './escaped-names.ts';

export interface EscapedOptions {
  /** Paths are written as `ls` shows names. */
  readonly escaped?: boolean;
}

/** Returns the path that was typed: text, or with `--escaped` any bytes. EINVAL for a wrong escape. */
export function localPath(text: string, { escaped = false }: EscapedOptions): string | Buffer {
  if (!escaped) return text;
  const bytes = nameBytes(unescapeName(text));
  requireArgument(!bytes.includes(0), `a path cannot hold a zero byte: ${text}`);
  return bytes;
}
