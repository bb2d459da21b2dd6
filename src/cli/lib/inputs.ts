/**
 * The inputs that a command reads. A pipe, a terminal or an open descriptor gives each byte once: where the
 * data and the secret come from the same one, the first to read would take the other's bytes.
 */
import { type BigIntStats, fstatSync, statSync } from 'node:fs';
import { NetsealError } from '../../base/errors.ts';
import { withPath } from '../../system/errors.ts';

interface Claim {
  /** What reads the input, for messages. */
  readonly what: string;
  /** False for a file that is named by a path of its own: each reader gets all of it. */
  readonly isReadOnce: boolean;
}

/** The claims of this process by device and inode. */
const claims = new Map<string, Claim[]>();
const DESCRIPTOR_PATH = /^\/(?:dev\/(?:stdin|fd\/\d+)|proc\/(?:self|thread-self|\d+)\/fd\/\d+)$/;

/**
 * Says that the command will read a path. Call it before the path is opened: a named pipe would wait for a
 * writer. EINVAL when something else of the command reads the same input; system errors.
 *
 * @param what what reads it: `--key-file`, or `the data`.
 */
export function claimInput(what: string, path: string | Buffer): void {
  const stats = statSync(path, { bigint: true });
  claim(what, stats, !stats.isFile() || DESCRIPTOR_PATH.test(path.toString()));
}

/** As {@link claimInput}, for the standard input. EIO when it is a folder. */
export function claimStandardInput(what: string): void {
  let stats: BigIntStats;
  try {
    stats = fstatSync(0, { bigint: true });
  } catch (error) {
    throw withPath('standard input', error);
  }
  // Node would read nothing, and no error either.
  if (stats.isDirectory())
    throw new NetsealError('EIO', 'the standard input is a folder: pipe it in with tar');
  claim(what, stats, true);
}

function claim(what: string, { dev, ino }: BigIntStats, isReadOnce: boolean): void {
  const key = `${dev}/${ino}`;
  const others = claims.get(key) ?? [];
  const other = others.find(({ what: by, isReadOnce: once }) => by !== what && (once || isReadOnce));
  if (other !== undefined) {
    throw new NetsealError(
      'EINVAL',
      `${other.what} and ${what} would read the same input, and only one of them would get it: name a file for one of them`,
    );
  }
  claims.set(key, [...others, { what, isReadOnce }]);
}
