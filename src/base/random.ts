/** Where keys, nonces and ids come from: always the system, never a seed. */
import { randomFillSync } from 'node:crypto';

/** Fills `target` with random bytes. */
export type RandomFill = (target: Uint8Array) => void;

/** The system's generator. */
export const systemRandom: RandomFill = target => {
  randomFillSync(target);
};

/** `lengthBytes` random bytes that the caller owns. */
export function randomBytes(lengthBytes: number, random: RandomFill = systemRandom): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(lengthBytes);
  random(bytes);
  return bytes;
}
