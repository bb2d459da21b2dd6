/** JSON that may be shown on a terminal. Names from a volume are bytes, and may hold anything. */

// Characters that JSON leaves as they are, but that a terminal might act on or show as something else.
const NOT_PLAIN = /[\x7f-\x9f\u2028\u2029\p{Cf}]/gu;

/** Returns JSON that is safe to show on a terminal. */
export function toJson(value: unknown, indent = 0): string {
  return JSON.stringify(value, null, indent).replace(NOT_PLAIN, character =>
    Array.from(
      { length: character.length },
      (_, at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, '0')}`,
    ).join(''),
  );
}
