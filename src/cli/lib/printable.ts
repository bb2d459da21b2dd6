/** Messages hold names from volumes and arguments from anywhere: nothing in them may act on a terminal. */

const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]/gu;

/** The text on one line, with `\xNN` for each byte of what a terminal would not print. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, character =>
    [...Buffer.from(character)].map(byte => `\\x${byte.toString(16).padStart(2, '0')}`).join(''),
  );
}
