/** Ids and hashes that are told apart at a glance. */

export function idOf(number: number): string {
  return number.toString(16).padStart(32, '0');
}

export function hashOf(number: number): string {
  return number.toString(16).padStart(64, 'a');
}

/** The key of the volume that all tests of marks are about. */
export const MARKS_KEY: Uint8Array = new Uint8Array(32).fill(0x6d);
