/** Where a command writes one stream of bytes: a file that appears whole or not at all, or standard output. */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { access, type FileHandle, link, open, rename, rm } from 'node:fs/promises';
import { NetsealError } from '../base/errors.ts';

export interface Output {
  write(bytes: Uint8Array): Promise<void>;
  /** Makes the file durable and gives it its name. */
  commit(): Promise<void>;
  /** Drops what was not committed. Call it in any case. */
  close(): Promise<void>;
}

export interface OutputOptions {
  /** Standard output when left out. */
  readonly output?: string;
  /** Replace a file that is there. */
  readonly force?: boolean;
}

/** Opens the output. EEXIST when the file is there and `force` is not set. */
export async function openOutput({ output, force = false }: OutputOptions): Promise<Output> {
  if (output === undefined) return STANDARD_OUTPUT;
  if (!force && (await exists(output))) throw alreadyThere(output);
  const partial = `${output}.${randomUUID()}.partial`;
  return new FileOutput(await open(partial, 'wx'), partial, output, force);
}

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
      // Unlike rename(), link() never replaces what somebody else has made meanwhile.
      try {
        await link(this.#partial, this.#path);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'EEXIST') throw alreadyThere(this.#path);
        throw error;
      }
      await rm(this.#partial);
    }
    this.#isCommitted = true;
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

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

function alreadyThere(path: string): NetsealError {
  return new NetsealError(
    'EEXIST',
    `${path} is there already: choose another name, or --force to replace it`,
  );
}
