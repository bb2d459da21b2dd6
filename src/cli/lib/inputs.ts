/**
 * Keeps a command from reading two things from one input. A pipe, a terminal or an open descriptor gives each
 * byte only once. If the data and the secret came from the same one, the first reader would take the bytes of
 * the second.
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

/** What this process reads, by the device and inode of the input. */
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
  // Reading a folder, Node would return no bytes and no error.
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
