/** Copies a stream, such as standard input, into a file of the volume. */
import { copyBytes } from '../base/bytes.ts';
import { NetsealError, requireArgument } from '../base/errors.ts';
import { toBytesName } from '../volume/names/name-checks.ts';
import { newAttributes } from '../volume/new-attributes.ts';
import type { Volume } from '../volume/volume.ts';
import { runCopy } from './copying.ts';
import { isNowhere } from './plan-rules.ts';
import { putReader } from './put-file.ts';
import { onVolume, type Tally } from './tally.ts';

const NEW_FILE_MODE = 0o666;

/**
 * Reads a stream to its end into a file of the volume. When all of it is stored, the file gets its name, or
 * its new content. Fills `tally`.
 *
 * Rejects with EISDIR if a folder has the name, EINVAL for a target that ends in `/`, ENOENT, ENOTDIR; later
 * with what reading the stream throws, the signal's reason, or the store's error. Then nothing is changed.
 */
export function putStream(
  volume: Volume,
  stream: AsyncIterable<Uint8Array>,
  target: string | Uint8Array,
  tally: Tally,
  { signal }: { readonly signal?: AbortSignal | undefined } = {},
): Promise<void> {
  return runCopy(async () => {
    const path = toBytesName(target);
    requireArgument(!path.endsWith('/'), 'a stream has no name: name the file that it is to become');
    await requireNoFolder(volume, target);
    const { directory, name } = await volume.place(target);
    const { namespace } = volume;
    const created = namespace.newFile(newAttributes(NEW_FILE_MODE & ~process.umask()));
    const source = new StreamReader(stream, signal);
    try {
      tally.begin(path);
      const { inode, segments } = await putReader(volume, into => source.read(into), created, {
        signal,
        onBytes: bytes => tally.progress(bytes, 0, path),
      });
      await onVolume(namespace.insert(directory, name, inode, { replace: true, segments }));
      tally.counts.files += 1;
      tally.counts.bytes += inode.sizeBytes;
      tally.progress(0, 1, path);
      tally.did(path, 'file');
    } finally {
      source.end();
    }
  });
}

async function requireNoFolder(volume: Volume, target: string | Uint8Array): Promise<void> {
  try {
    await volume.directory(target);
  } catch (error) {
    if (isNowhere(error)) return;
    throw error;
  }
  throw new NetsealError('EISDIR', 'a stream has no name: name the file that it is to become in this folder');
}

/** Fills buffers from a stream. */
class StreamReader {
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #signal: AbortSignal | undefined;
  /** Rejects when the signal aborts. */
  readonly #aborted: Promise<never>;
  readonly #onAbort: () => void;
  #rest: Uint8Array = new Uint8Array(0);

  constructor(stream: AsyncIterable<Uint8Array>, signal: AbortSignal | undefined) {
    this.#chunks = stream[Symbol.asyncIterator]();
    this.#signal = signal;
    const { promise, reject } = Promise.withResolvers<never>();
    this.#aborted = promise;
    this.#onAbort = () => reject(signal?.reason);
    // It may abort while nothing is read.
    promise.catch(() => undefined);
    signal?.addEventListener('abort', this.#onAbort);
  }

  /** Fills `into`. Returns how many bytes there were: fewer than fit only at the end. */
  async read(into: Uint8Array): Promise<number> {
    let filled = 0;
    while (filled < into.byteLength) {
      if (this.#rest.byteLength === 0) {
        this.#signal?.throwIfAborted();
        const next = await Promise.race([this.#chunks.next(), this.#aborted]);
        if (next.done === true) return filled;
        this.#rest = next.value;
      }
      const part = this.#rest.subarray(0, into.byteLength - filled);
      copyBytes(part, into, filled);
      filled += part.byteLength;
      this.#rest = this.#rest.subarray(part.byteLength);
    }
    return filled;
  }

  end(): void {
    this.#signal?.removeEventListener('abort', this.#onAbort);
  }
}
