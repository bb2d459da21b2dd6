/** Names of files and of extended attributes. */

/**
 * Raw bytes as a string of one character a byte (Latin-1), so that names can be map keys. Order and equality
 * are those of the bytes. A name need not be valid UTF-8.
 */
export type Name = string;
