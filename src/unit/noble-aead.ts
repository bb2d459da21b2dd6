/** What the portable providers of both suites share. */

/** The plaintext, or undefined when noble says that the tag is wrong. Any other failure is a fault of ours: thrown. */
export function openWithNoble(decrypt: () => Uint8Array): Uint8Array | undefined {
  try {
    return decrypt();
  } catch (error) {
    if (error instanceof Error && error.message.endsWith('invalid tag')) return undefined;
    throw error;
  }
}
