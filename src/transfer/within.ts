/** Paths below the folder that is copied, as filters judge them. */
import type { Name } from '../base/name.ts';

/**
 * Returns the path of a name in a folder.
 *
 * @param folder `within` is its own path: empty for the folder that is copied, undefined for the one that
 *   sources go into.
 */
export function withinOf({ within }: { readonly within: Name | undefined }, name: Name): Name {
  return within === undefined || within === '' ? name : `${within}/${name}`;
}

/** Returns the path of a folder in another. It is empty for a source itself, the folder that is copied. */
export function withinOfFolder(parent: { readonly within: Name | undefined }, name: Name): Name {
  return parent.within === undefined ? '' : withinOf(parent, name);
}
