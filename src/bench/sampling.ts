/** Chooses the parts of files to measure when there is more than the cap allows. Pure arithmetic. */

/** A file that could be measured. */
export interface Candidate {
  readonly path: string;
  readonly sizeBytes: number;
}

/**
 * A part of a file. It starts at a multiple of the chunk size, so units cut from it are units of the file.
 */
export interface Chunk {
  readonly path: string;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

/**
 * About how many chunks there are to choose from, at most: rounding up adds up to one a file. That is twice
 * the number of smallest chunks that fit into the memory for samples. A bound is needed because a file may
 * claim any size: `/proc/kcore` claims 128 TiB.
 */
export const CHUNKS_MAX: number = 2 ** 18;

/**
 * Returns the chunks of all files, in order. The last chunk of a file may be shorter than the others. When
 * there would be more than {@link CHUNKS_MAX}, returns only some chunks of each file, spread evenly.
 */
export function cutIntoChunks(files: readonly Candidate[], chunkBytes: number): Chunk[] {
  const countOf = ({ sizeBytes }: Candidate): number => Math.ceil(sizeBytes / chunkBytes);
  const share =
    CHUNKS_MAX /
    Math.max(
      CHUNKS_MAX,
      files.reduce((sum, file) => sum + countOf(file), 0),
    );
  return files.flatMap(file => {
    const { path, sizeBytes } = file;
    const count = countOf(file);
    return spreadIndices(count, Math.min(count, Math.ceil(count * share))).map(index => {
      const offsetBytes = index * chunkBytes;
      return { path, offsetBytes, lengthBytes: Math.min(chunkBytes, sizeBytes - offsetBytes) };
    });
  });
}

/**
 * Chooses chunks that are spread evenly over all chunks. Together they have about `capBytes` and never more,
 * except that one chunk is always chosen. The same input gives the same choice.
 *
 * Works like an account. With `share` = `capBytes` / all bytes, for example a quarter:
 *
 * - Each chunk that is passed adds `share` of its length to the credit.
 * - A chunk is chosen when the credit is at least half its length. Its whole length is then taken off, so the
 *   credit may fall below 0, and the next chunks are passed over until it has grown again.
 * - So about `share` of the bytes passed are chosen at each point, and a byte in a large chunk is as likely
 *   to be chosen as one in a small chunk.
 */
export function sampleEvenly(chunks: readonly Chunk[], capBytes: number): Chunk[] {
  const totalBytes = chunks.reduce((sum, chunk) => sum + chunk.lengthBytes, 0);
  if (totalBytes <= capBytes) return [...chunks];
  const share = capBytes / totalBytes;
  const chosen: Chunk[] = [];
  let chosenBytes = 0;
  let creditBytes = 0;
  for (const chunk of chunks) {
    creditBytes += chunk.lengthBytes * share;
    const fits = chosenBytes + chunk.lengthBytes <= capBytes;
    if (!fits || creditBytes < chunk.lengthBytes / 2) continue;
    chosen.push(chunk);
    chosenBytes += chunk.lengthBytes;
    creditBytes -= chunk.lengthBytes;
  }
  const middle = chunks[Math.floor(chunks.length / 2)];
  return chosen.length === 0 && middle !== undefined ? [middle] : chosen;
}

/**
 * Returns `count` indices below `length`, spread evenly. When `count` exceeds `length`, they start again from
 * 0.
 */
export function spreadIndices(length: number, count: number): number[] {
  if (length === 0) return [];
  if (count >= length) return Array.from({ length: count }, (_, index) => index % length);
  return Array.from({ length: count }, (_, index) => Math.floor((index * length) / count));
}
