/**
 * What a client remembers of a volume outside the server's reach: the header's pin, the marks of its inodes, who it is. Without
 * it a server could show an older volume, or two clients two different ones, and nobody would know.
 */
import { fromHex } from '../../base/bytes.ts';
import { NetsealError } from '../../base/errors.ts';
import type { HeaderPin } from '../../keys/pin.ts';
import { deriveCommittedKey } from '../../keys/tree.ts';
import type { VolumeHeader } from '../../keys/volume-header.ts';
import { HeadMemory } from './head-memory.ts';
import { Marks } from './marks.ts';

export interface ClientState {
  /** What was remembered before is there only after {@link attach}. */
  readonly marks: Marks;
  /** This client's id in the volume, and what it knows of others. Only after {@link attach}. */
  readonly heads: HeadMemory;
  /** Of the header that was seen last; undefined on the first visit. */
  pin(): HeaderPin | undefined;
  /**
   * Remembers the pin, durably. Check it first (`checkPin`): a pin of another volume replaces the one there. Never
   * replaces a newer pin of the same volume that another process has saved meanwhile; EROLLBACK when that one is of
   * another header of the same generation.
   */
  savePin(pin: HeaderPin): Promise<void>;
  /**
   * Reads the marks of this volume. Needs an unlocked header, as a key derived from it authenticates them. Again for the
   * same volume does nothing; EINVAL for another one. The keyring may be destroyed afterwards.
   */
  attach(header: VolumeHeader): Promise<void>;
  /**
   * Where a journal of this name (letters, digits, `.`, `_`, `-`) may be kept; its folder is there. Undefined when there
   * is no such place. Only after {@link attach}: journals belong to one volume.
   */
  journalPath(name: string): string | undefined;
  /** Writes what was noted since the last time. Calls may overlap. */
  flush(): Promise<void>;
  /** Flushes, and ends. May be called again. */
  close(): Promise<void>;
}

/** Remembers nothing beyond the process: for tests, and where a server is trusted. */
export function memoryState(): ClientState {
  return new MemoryState();
}

class MemoryState implements ClientState {
  readonly marks: Marks = new Marks();
  readonly heads: HeadMemory = HeadMemory.fresh();
  #pin: HeaderPin | undefined;
  #volumeId: string | undefined;

  pin(): HeaderPin | undefined {
    return this.#pin;
  }

  async savePin(pin: HeaderPin): Promise<void> {
    this.#pin = newerPin(this.#pin, pin);
  }

  async attach(header: VolumeHeader): Promise<void> {
    this.#volumeId ??= header.volumeId;
    checkSameVolume(this.#volumeId, header);
  }

  journalPath(): undefined {
    return undefined;
  }

  async flush(): Promise<void> {
    this.marks.takeUnsaved();
    this.heads.takeChanged();
  }

  async close(): Promise<void> {}
}

/** Of two pins the one to keep, see {@link ClientState.savePin}. */
export function newerPin(known: HeaderPin | undefined, pin: HeaderPin): HeaderPin {
  if (known === undefined || known.volumeId !== pin.volumeId || known.generation < pin.generation) return pin;
  if (known.generation === pin.generation && known.headerHash !== pin.headerHash) {
    throw new NetsealError(
      'EROLLBACK',
      `volume header: generation ${pin.generation} is not the one that was seen before`,
    );
  }
  return known;
}

/** EINVAL unless the header is of this volume. */
export function checkSameVolume(volumeId: string, header: VolumeHeader): void {
  if (volumeId === header.volumeId) return;
  throw new NetsealError('EINVAL', `this state is of volume ${volumeId}, not ${header.volumeId}`);
}

/**
 * The key that authenticates a client's marks; the caller zeroes it. Of the first epoch, so that it stays the same when
 * the volume is rekeyed.
 */
export function deriveMarksKey({ keyring, volumeId }: VolumeHeader): Uint8Array<ArrayBuffer> {
  const [firstEpoch = keyring.newestEpoch] = keyring.epochs;
  return deriveCommittedKey(keyring.epochKey(firstEpoch), fromHex(volumeId), 'client marks').key;
}
