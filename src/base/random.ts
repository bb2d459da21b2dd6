/** The random bytes of keys, nonces and ids. They come from the system, never from a seed. */
import { randomFillSync } from 'node:crypto';

/** Fills `target` with random bytes. */
export type RandomFill = (target: Uint8Array) => void;

/** The system's generator. */
export const systemRandom: RandomFill = target => {
  randomFillSync(target);
};

/** Returns `lengthBytes` random bytes that the caller owns. */
export function randomBytes(lengthBytes: number, random: RandomFill = systemRandom): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(lengthBytes);
  random(bytes);
  return bytes;
}
