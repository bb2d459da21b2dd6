/**
 * Truncates a file. It excludes all writers from the new size on. It waits until flushes of closed groups
 * have copied the bytes beyond the new size. Then it drops these in one turn: dirty bytes, records, pages.
 */
import type { Base } from './base.ts';
import type { Flusher } from './flush.ts';
import type { Gate } from './gate.ts';
import type { FileParts } from './parts.ts';
import { releasePages } from './upload.ts';

export interface TruncateParts<Handle> {
  readonly base: Base<Handle>;
  readonly flusher: Flusher<Handle>;
  readonly gate: Gate;
  /** Aborts when the file is given back: whoever still waits then fails with its reason. */
  readonly ended: AbortSignal;
  onChange(): void;
}

/**
 * Sets the file's size. Rejects with the signal's reason when it aborts first, and with ECLOSED; then nothing
 * has happened.
 *
 * @param isGrowing true when a file that is longer already stays as it is.
 */
export async function truncate<Handle>(
  parts: FileParts<Handle>,
  { base, flusher, gate, ended, onChange }: TruncateParts<Handle>,
  sizeBytes: number,
  given: AbortSignal | undefined,
  isGrowing = false,
): Promise<void> {
  const signal = given === undefined ? ended : AbortSignal.any([given, ended]);
  signal.throwIfAborted();
  const { pages, regions } = parts;
  while (gate.isClosed || base.isAsking) {
    if (gate.isClosed) await gate.whenOpened(signal);
    else await base.settled(signal);
  }
  const writer = regions.reserve('truncate', sizeBytes);
  try {
    // Closing a group may have made the writer wait again before this goes on.
    while (writer.state !== 'active') await regions.whenActive(writer, signal);
    signal.throwIfAborted();
    const oldBytes = regions.sizeBytes;
    if (sizeBytes === oldBytes || (isGrowing && sizeBytes < oldBytes)) return;
    regions.truncate(writer);
    onChange();
    if (sizeBytes > oldBytes) return;
    pages.truncate(sizeBytes);
    // All dirty bytes of the last page may be gone: then it need not be held.
    if (sizeBytes > 0) releasePages(parts, [{ fromBytes: sizeBytes - 1, toBytes: sizeBytes }]);
  } finally {
    // The truncate was aborted, or changed nothing.
    if (writer.state === 'active') regions.end(writer);
    flusher.tellChange();
  }
}
