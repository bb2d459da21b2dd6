/**
 * The keys of a volume's objects, and where the store has them.
 *
 *   key             flat            hex2                    what it is
 *   volume          volume          volume                  the volume header
 *   s/<id>          s/<id>          s/<2 digits>/<id>       a segment
 *   i/<id>          i/<id>          i/<2 digits>/<id>       an inode object
 *   heads/<id>      heads/<id>      heads/<id>              a client's head
 *   gc/<id>         gc/<id>         gc/<id>                 a candidate list
 *   gc/orders/<id>  gc/orders/<id>  gc/orders/<id>          an order
 *   snap/, locks/   the same        the same                reserved
 *
 * All code but this file and `spread-keys.ts` uses the keys of the first column. With `hex2`, the folder's
 * name is the first two digits of the id. So keys have the same order in all columns.
 */
import { shownValue } from '../../base/arguments.ts';
import { requireArgument } from '../../base/errors.ts';
import { type Id, isId } from '../../base/ids.ts';

/** Prefixes of keys. An id follows. */
export const SEGMENT_PREFIX = 's/';
export const INODE_PREFIX = 'i/';
export const HEAD_PREFIX = 'heads/';
export const CANDIDATES_PREFIX = 'gc/';
export const ORDER_PREFIX = 'gc/orders/';
/** Reserved for snapshots, which a newer netseal may keep: gc ends when there is one. */
export const SNAPSHOT_PREFIX = 'snap/';
// Keys that begin with `locks/` are reserved as well. Whatever is there, gc and verify leave it alone.
/** The key of the volume header. */
export const HEADER_KEY = 'volume';

/** How the store has segments and inode objects: side by side, or spread over 256 folders by their ids. */
export type KeyScheme = 'flat' | 'hex2';

export const KEY_SCHEME_DEFAULT: KeyScheme = 'flat';

/** Reads the name of a scheme. EINVAL for any other text. */
export function parseKeyScheme(text: string): KeyScheme {
  requireArgument(text === 'flat' || text === 'hex2', `keys must be flat or hex2, not ${shownValue(text)}`);
  return text;
}

export function segmentKey(id: Id): string {
  return SEGMENT_PREFIX + id;
}

export function inodeKey(id: Id): string {
  return INODE_PREFIX + id;
}

/** Returns the id that follows `prefix` in `key`; undefined for any other key, which is not ours. */
export function idOfKey(key: string, prefix: string): Id | undefined {
  const id = key.slice(prefix.length);
  return key.startsWith(prefix) && isId(id) ? id : undefined;
}

/** There may be millions of objects below each of these. */
const SPREAD_PREFIXES = [SEGMENT_PREFIX, INODE_PREFIX] as const;
const DIGITS = 2;

/** Returns the key under which the store has the object `key`. Other keys than ours stay as they are. */
export function storedKey(key: string, scheme: KeyScheme): string {
  if (scheme === 'flat') return key;
  for (const prefix of SPREAD_PREFIXES) {
    const id = idOfKey(key, prefix);
    if (id !== undefined) return `${prefix}${id.slice(0, DIGITS)}/${id}`;
  }
  return key;
}

/** The inverse of {@link storedKey}. Undefined for an object that no key of ours leads to. */
export function keyOfStored(stored: string, scheme: KeyScheme): string | undefined {
  if (scheme === 'flat') return stored;
  const prefix = SPREAD_PREFIXES.find(one => stored.startsWith(one));
  if (prefix === undefined) return stored;
  const key = prefix + stored.slice(prefix.length + DIGITS + 1);
  return storedKey(key, scheme) === stored ? key : undefined;
}
