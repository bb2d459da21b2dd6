/**
 * A pin is what a client remembers of a volume's header, outside the server's reach, so that the server cannot show it
 * an older one. It is not secret, and plain JSON; whoever can change it can undo it.
 */
import { createHash } from 'node:crypto';
import { NetsealError, requireArgument } from '../base/errors.ts';
import type { VolumeHeader } from './volume-header.ts';

export interface HeaderPin {
  /** Hexadecimal, as the hashes below. */
  readonly volumeId: string;
  readonly generation: number;
  /** The newest epoch. */
  readonly epoch: number;
  /** The header's commitment to that epoch's key. */
  readonly epochCommitment: string;
  /** SHA-256 of the whole header. */
  readonly headerHash: string;
}

/** What to remember of an unlocked header. */
export function pinOf(header: VolumeHeader): HeaderPin {
  return {
    volumeId: header.volumeId,
    generation: header.generation,
    epoch: header.epoch,
    epochCommitment: header.epochCommitments.get(header.epoch) ?? '',
    headerHash: createHash('sha256').update(header.bytes).digest('hex'),
  };
}

/**
 * Throws EROLLBACK unless `header` is what the pin was taken of, or can come after it. Takes an unlocked header, so that
 * nothing unauthenticated is ever compared or remembered; replace the pin by `pinOf(header)` afterwards. EINVAL when the pin
 * is not one.
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
  // Generations may have been skipped, but an epoch's key never changes. Unlocking unwrapped every epoch's key and held it
  // against its commitment, so whoever wrote this header knew the key that was seen before: a stranger's does not pass.
  const commitment = header.epochCommitments.get(pin.epoch);
  if (commitment !== pin.epochCommitment) {
    throw rollback(`the key of epoch ${pin.epoch} is not the one that was seen before`);
  }
}

/** A pin comes back from a file: one that lacks a field must not pass for one that agrees. */
function checkShape({ volumeId, generation, epoch, epochCommitment, headerHash }: HeaderPin): void {
  requireArgument(
    Number.isSafeInteger(generation) &&
      Number.isSafeInteger(epoch) &&
      [volumeId, epochCommitment, headerHash].every(hex => typeof hex === 'string' && hex !== ''),
    'this is not the pin of a volume header',
  );
}

function rollback(what: string): NetsealError {
  return new NetsealError('EROLLBACK', `volume header: ${what}`);
}
