/** Ids and hashes that are told apart at a glance. */

export function idOf(number: number): string {
  return number.toString(16).padStart(32, '0');
}

export function hashOf(number: number): string {
  return number.toString(16).padStart(64, 'a');
}
