/**
 * A pin is a client's memory of a volume header. The client keeps it where the server cannot reach it, so the
 * server cannot show it an older header. A pin is plain JSON and not secret. But anybody who can change a pin
 * can make the client accept an older header.
 */

import { createHash } from 'node:crypto';
import { requireInstance, requireObject } from '../base/arguments.ts';
import { NetsealError, requireArgument } from '../base/errors.ts';
import { VolumeHeader } from './volume-header.ts';

export interface HeaderPin {
  /** Hexadecimal, like the hashes below. */
  readonly volumeId: string;
  readonly generation: number;
  /** The newest epoch. */
  readonly epoch: number;
  /** The header's commitment to that epoch's key. */
  readonly epochCommitment: string;
  /**
   * SHA-256 of that epoch's trace. Once the epoch is dropped, later headers hold the trace instead of the
   * key.
   */
  readonly epochTraceHash: string;
  /** SHA-256 of the whole header. */
  readonly headerHash: string;
}

/** Returns the pin of an unlocked header. */
export function pinOf(header: VolumeHeader): HeaderPin {
  requireInstance('header', header, VolumeHeader);
  return {
    volumeId: header.volumeId,
    generation: header.generation,
    epoch: header.epoch,
    epochCommitment: header.epochCommitments.get(header.epoch) ?? '',
    epochTraceHash: header.epochTraceHash,
    headerHash: createHash('sha256').update(header.bytes).digest('hex'),
  };
}

/**
 * Throws EROLLBACK unless `header` is the header that was pinned or may be a later one of the same volume.
 * The header must be unlocked, so that nothing unauthenticated is compared or remembered. Afterwards, replace
 * the pin by `pinOf(header)`.
 *
 * Throws EINVAL when `pin` is not a pin.
 */
export function checkPin(pin: HeaderPin, header: VolumeHeader): void {
  checkShape(pin);
  const now = pinOf(header);
  if (now.volumeId !== pin.volumeId) {
    throw rollback(`volume ${now.volumeId} is here, and volume ${pin.volumeId} was`);
  }
  if (now.generation < pin.generation) {
    throw rollback(`generation ${now.generation} is older than ${pin.generation}, which was seen before`);
  }
  if (now.epoch < pin.epoch)
    throw rollback(`epoch ${now.epoch} is older than ${pin.epoch}, which was seen before`);
  if (now.generation === pin.generation && now.headerHash !== pin.headerHash) {
    throw rollback(`generation ${now.generation} is not the one that was seen before`);
  }
  // The client may have missed generations, but an epoch's key never changes. Unlocking has compared every
  // epoch's key with its commitment. So the writer of this header knew the pinned key, and a stranger's
  // header does not pass. Once the epoch is dropped, its trace shows the same. Only someone who knows the key
  // can make the trace, and only someone who can open a later header can read it there.
  const commitment = header.epochCommitments.get(pin.epoch);
  const isSame =
    commitment === undefined
      ? header.droppedEpochs.get(pin.epoch) === pin.epochTraceHash
      : commitment === pin.epochCommitment;
  if (!isSame) throw rollback(`the key of epoch ${pin.epoch} is not the one that was seen before`);
}

/**
 * Throws EINVAL unless all fields are there. Pins are read from files, and one without a field must not pass.
 */
export function checkShape(pin: HeaderPin): void {
  requireObject('pin', pin);
  const { volumeId, generation, epoch, epochCommitment, epochTraceHash, headerHash } = pin;
  requireArgument(
    Number.isSafeInteger(generation) &&
      Number.isSafeInteger(epoch) &&
      [volumeId, epochCommitment, epochTraceHash, headerHash].every(
        hex => typeof hex === 'string' && hex !== '',
      ),
    'this is not the pin of a volume header',
  );
}

function rollback(what: string): NetsealError {
  return new NetsealError('EROLLBACK', `volume header: ${what}`);
}
