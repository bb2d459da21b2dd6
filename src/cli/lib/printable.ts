/**
 * Messages that are safe on a terminal. They quote names and arguments, which may hold control characters.
 */

const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]/gu;

/** Returns the text on one line, with `\xNN` for each byte of a character that a terminal would not print. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, character =>
    [...Buffer.from(character)].map(byte => `\\x${byte.toString(16).padStart(2, '0')}`).join(''),
  );
}
