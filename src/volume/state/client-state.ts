/**
 * What a client remembers of a volume, out of the server's reach: the pin of the header, the marks of inodes,
 * its own id. Without it, a server could show an older volume, or different volumes to two clients, and no
 * client would notice.
 */
import { requireInstance, requireMethods } from '../../base/arguments.ts';
import { NetsealError } from '../../base/errors.ts';
import { checkShape, type HeaderPin } from '../../keys/pin.ts';
import { VolumeHeader } from '../../keys/volume-header.ts';
import { HeadMemory } from './head-memory.ts';
import { Marks } from './marks.ts';

export interface ClientState extends AsyncDisposable {
  /** The folder of this machine that holds the state of all stores; undefined for a state in memory. */
  readonly folder?: string | undefined;
  /** Marks of earlier sessions are in it only after {@link attach}. */
  readonly marks: Marks;
  /** This client's id, and the heads that it has read. May be used only after {@link attach}. */
  readonly heads: HeadMemory;
  /** Returns the pin of the header that was seen last; undefined on the first visit. */
  pin(): HeaderPin | undefined;
  /**
   * Remembers a pin; it is durable when this resolves. The caller checks it first (`checkPin`), because a pin
   * of another volume replaces the present one. A newer pin of the same volume, saved by another process,
   * stays. EROLLBACK when that other process has seen another header of the same generation.
   */
  savePin(pin: HeaderPin): Promise<void>;
  /**
   * Reads the marks of a volume. A second call for the same volume does nothing. EINVAL for another volume.
   *
   * @param header unlocked; its keyring may be destroyed afterwards.
   * @param marksKey 32 bytes that authenticate the marks: the volume's key for that. Copied.
   */
  attach(header: VolumeHeader, marksKey: Uint8Array): Promise<void>;
  /**
   * Returns the path for a journal of this name (letters, digits, `.`, `_`, `-`), in a folder that exists;
   * undefined when this state has no place for journals. May be called only after {@link attach}: journals
   * belong to one volume.
   */
  journalPath(name: string): string | undefined;
  /** Saves what was noted since the last call. Calls may overlap. */
  flush(): Promise<void>;
  /** Flushes and ends. May be called again. */
  close(): Promise<void>;
}

/** Returns the error of a state that is used after it was closed. */
export function stateIsClosed(): NetsealError {
  return new NetsealError('ECLOSED', 'the state of this client is closed');
}

const STATE_METHODS = ['pin', 'savePin', 'attach', 'journalPath', 'flush', 'close'] as const;

/** Throws EINVAL unless the argument called `name` is a state, of any kind. */
export function requireState(name: string, value: unknown): asserts value is ClientState {
  requireMethods(name, value, STATE_METHODS);
}

/**
 * Returns a state that ends with the process: for jobs without a state folder, for tests, and for servers
 * that are trusted. The client's head is ephemeral.
 */
export function memoryState(): ClientState {
  return memoryStateOf(HeadMemory.ephemeral());
}

/** Returns a state in memory with a memory of heads that the caller has. */
export function memoryStateOf(heads: HeadMemory): ClientState {
  return new MemoryState(heads);
}

class MemoryState implements ClientState {
  #isClosed = false;
  readonly marks: Marks = new Marks();
  readonly heads: HeadMemory;
  #pin: HeaderPin | undefined;
  #volumeId: string | undefined;

  constructor(heads: HeadMemory) {
    this.heads = heads;
  }

  pin(): HeaderPin | undefined {
    return this.#pin;
  }

  async savePin(pin: HeaderPin): Promise<void> {
    this.#requireOpen();
    checkShape(pin);
    this.#pin = newerPin(this.#pin, pin);
  }

  async attach(header: VolumeHeader): Promise<void> {
    this.#requireOpen();
    requireInstance('header', header, VolumeHeader);
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

  async close(): Promise<void> {
    this.#isClosed = true;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #requireOpen(): void {
    if (this.#isClosed) throw stateIsClosed();
  }
}

/** Returns the pin to keep. EROLLBACK for two headers of one generation. See {@link ClientState.savePin}. */
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

/** EINVAL unless the header belongs to this volume. */
export function checkSameVolume(volumeId: string, header: VolumeHeader): void {
  if (volumeId === header.volumeId) return;
  throw new NetsealError('EINVAL', `this state is of volume ${volumeId}, not ${header.volumeId}`);
}
