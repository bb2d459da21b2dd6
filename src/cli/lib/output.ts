/** The output of a command: standard output, or one file that appears whole or not at all. */
import { isUtf8 } from 'node:buffer';
import { once } from 'node:events';
import { fchmodSync, type Stats } from 'node:fs';
import { type FileHandle, link, lstat, open, realpath, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { getSystemErrorMessage } from 'node:util';
import { isSystemError, messageOf, NetsealError } from '../../base/errors.ts';
import { partialName } from '../../transfer/local-names.ts';
import { giveRights, PRIVATE_MODE, rightsAt, syncFolderAt } from '../../transfer/local-rights.ts';

export interface Output {
  write(bytes: Uint8Array): Promise<void>;
  /** Makes the file durable and gives it its name. */
  commit(): Promise<void>;
  /** Drops what was not committed. Call it in every case. */
  close(): Promise<void>;
}

export interface OutputOptions {
  /** Standard output when left out, or `-`. */
  readonly output?: string;
  /** Replaces an existing file. Default: false. */
  readonly force?: boolean;
}

/** True when the output is standard output: left out, or `-`. */
export function isStandardOutput(output: string | undefined): output is undefined | '-' {
  return output === undefined || output === '-';
}

/**
 * Opens the output.
 *
 * - EEXIST: the file exists and `force` is not set, or the path is a folder or a device.
 * - EIO: the file cannot be created.
 */
export async function openOutput({ output, force = false }: OutputOptions): Promise<Output> {
  if (isStandardOutput(output)) return STANDARD_OUTPUT;
  const path = await checkTarget(output, force);
  // The partial file has a short name of its own: the output's name may be as long as names can be.
  const partial = join(dirname(path), partialName());
  try {
    return new FileOutput(await open(partial, 'wx', PRIVATE_MODE), partial, path, force);
  } catch (cause) {
    throw cannotCreate(output, cause);
  }
}

/** Returns the path to make or replace: the given one, or the file that a link there leads to. */
async function checkTarget(output: string, force: boolean): Promise<string> {
  const found = (await lookUp(output, stat)) ?? (await lookUp(output, lstat));
  if (found === undefined) return output;
  if (found.isDirectory()) throw new NetsealError('EEXIST', `${output} is a folder: name a file`);
  if (!found.isFile() && !found.isSymbolicLink()) {
    // Renaming over it would replace the device itself.
    throw new NetsealError(
      'EEXIST',
      `${output} is not an ordinary file: leave out -o and redirect the output`,
    );
  }
  if (!force) throw alreadyThere(output);
  if (!found.isFile()) return output;
  const path = await realpath(output, { encoding: 'buffer' });
  if (isUtf8(path)) return path.toString();
  throw new NetsealError('EINVAL', `${output} leads to a path that is not UTF-8: name another file`);
}

async function lookUp(path: string, look: (path: string) => Promise<Stats>): Promise<Stats | undefined> {
  try {
    return await look(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw cannotCreate(path, error);
  }
}

function cannotCreate(path: string, cause: unknown): NetsealError {
  const { code, errno } = cause as NodeJS.ErrnoException;
  const why = errno === undefined ? messageOf(cause) : getSystemErrorMessage(errno);
  const text = code === 'ENOENT' ? `the folder ${dirname(path)} does not exist` : why;
  return new NetsealError('EIO', `cannot create ${path}: ${text}`, { cause });
}

/** The codes with which file systems say that they have no hard links. */
const NO_LINKS = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']);

class FileOutput implements Output {
  readonly #file: FileHandle;
  readonly #partial: string;
  readonly #path: string;
  readonly #force: boolean;
  #isCommitted = false;

  constructor(file: FileHandle, partial: string, path: string, force: boolean) {
    this.#file = file;
    this.#partial = partial;
    this.#path = path;
    this.#force = force;
  }

  async write(bytes: Uint8Array): Promise<void> {
    // Unlike write(), writeFile() continues after a short write.
    await this.#named(this.#file.writeFile(bytes));
  }

  async commit(): Promise<void> {
    this.#setRights();
    await this.#named(this.#commit());
  }

  /** Waits for `work`; its system errors name the file as it will be called. */
  async #named<Result>(work: Promise<Result>): Promise<Result> {
    try {
      return await work;
    } catch (error) {
      if (isSystemError(error)) error.path = this.#path;
      throw error;
    }
  }

  async #commit(): Promise<void> {
    await this.#file.sync();
    if (this.#force) {
      await rename(this.#partial, this.#path);
    } else {
      await this.#nameUnlessThere();
    }
    this.#isCommitted = true;
    // Without this, a power cut could undo the rename.
    await syncFolderAt(dirname(this.#path));
  }

  /** Gives the file the rights of the one that it replaces, or those that a new file has here. */
  #setRights(): void {
    const { fd } = this.#file;
    try {
      giveRights(fd, rightsAt(this.#path));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw cannotCreate(this.#path, error);
      fchmodSync(fd, 0o666 & ~process.umask());
    }
  }

  /**
   * Names the file, unless another process has made one there meanwhile, which rename() would replace. EEXIST
   * then.
   */
  async #nameUnlessThere(): Promise<void> {
    try {
      await link(this.#partial, this.#path);
    } catch (error) {
      const { code = '' } = error as NodeJS.ErrnoException;
      if (code === 'EEXIST') throw alreadyThere(this.#path);
      if (!NO_LINKS.has(code)) throw error;
      await this.#claimAndRename();
      return;
    }
    await rm(this.#partial);
  }

  /**
   * Names the file on file systems without hard links (FAT, some network shares). An empty file claims the
   * name first.
   */
  async #claimAndRename(): Promise<void> {
    try {
      await (await open(this.#path, 'wx')).close();
    } catch (error) {
      throw (error as NodeJS.ErrnoException).code === 'EEXIST' ? alreadyThere(this.#path) : error;
    }
    await rename(this.#partial, this.#path);
  }

  async close(): Promise<void> {
    await this.#file.close();
    if (!this.#isCommitted) await rm(this.#partial, { force: true });
  }
}

const STANDARD_OUTPUT: Output = {
  async write(bytes) {
    if (!process.stdout.write(bytes)) await once(process.stdout, 'drain');
  },
  async commit() {
    // Standard output has no name to give.
  },
  async close() {
    // Standard output belongs to the process.
  },
};

function alreadyThere(path: string): NetsealError {
  return new NetsealError('EEXIST', `${path} already exists: choose another name, or --force to replace it`);
}
