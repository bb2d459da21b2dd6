/** Where a command writes one stream of bytes: a file that appears whole or not at all, or standard output. */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import type { Stats } from 'node:fs';
import { type FileHandle, link, lstat, open, realpath, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { getSystemErrorMessage } from 'node:util';
import { messageOf, NetsealError } from '../../base/errors.ts';

export interface Output {
  write(bytes: Uint8Array): Promise<void>;
  /** Makes the file durable and gives it its name. */
  commit(): Promise<void>;
  /** Drops what was not committed. Call it in any case. */
  close(): Promise<void>;
}

export interface OutputOptions {
  /** Standard output when left out, or `-`. */
  readonly output?: string;
  /** Replace a file that is there. */
  readonly force?: boolean;
}

/** Whether the output is standard output: left out, or `-`. */
export function isStandardOutput(output: string | undefined): output is undefined | '-' {
  return output === undefined || output === '-';
}

/** Opens the output. EEXIST when it is there and `force` is not set, or it is no file; EIO when it cannot be created. */
export async function openOutput({ output, force = false }: OutputOptions): Promise<Output> {
  if (isStandardOutput(output)) return STANDARD_OUTPUT;
  const path = await checkTarget(output, force);
  const partial = `${path}.${randomUUID()}.partial`;
  try {
    return new FileOutput(await open(partial, 'wx'), partial, path, force);
  } catch (cause) {
    throw cannotCreate(output, cause);
  }
}

/** What may be replaced or made: the path, or the file that a link at the path leads to. */
async function checkTarget(output: string, force: boolean): Promise<string> {
  const found = (await lookUp(output, stat)) ?? (await lookUp(output, lstat));
  if (found === undefined) return output;
  if (found.isDirectory()) throw new NetsealError('EEXIST', `${output} is a folder: name a file`);
  if (!found.isFile() && !found.isSymbolicLink()) {
    // Renaming over it would replace the device itself.
    throw new NetsealError('EEXIST', `${output} is no ordinary file: leave out -o and redirect the output`);
  }
  if (!force) throw alreadyThere(output);
  return found.isFile() ? await realpath(output) : output;
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
  const text = code === 'ENOENT' ? `there is no folder ${dirname(path)}` : why;
  return new NetsealError('EIO', `cannot create ${path}: ${text}`, { cause });
}

/** How file systems say that they have no hard links. */
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
    // Unlike write(), it goes on after a short write.
    await this.#file.writeFile(bytes);
  }

  async commit(): Promise<void> {
    await this.#file.sync();
    if (this.#force) {
      await rename(this.#partial, this.#path);
    } else {
      await this.#nameUnlessThere();
    }
    this.#isCommitted = true;
    // Or a power cut might take the name back.
    const folder = await open(dirname(this.#path));
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  }

  /** Unlike rename() alone, never replaces what somebody else has made meanwhile. */
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

  /** For file systems without hard links (FAT, some network shares): the name is claimed by an empty file first. */
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
    // There is nothing to name.
  },
  async close() {
    // It is not ours to close.
  },
};

function alreadyThere(path: string): NetsealError {
  return new NetsealError(
    'EEXIST',
    `${path} is there already: choose another name, or --force to replace it`,
  );
}
