/** Lists everything below a prefix. */
import { NetsealError } from '../base/errors.ts';
import { compareKeys, type ListEntry, type ObjectStore } from './store.ts';

/** How many keys one request asks for. */
const LIST_LIMIT = 1000;

/**
 * Yields every entry of a prefix, page by page. EUNAVAILABLE when a page does not begin after the one before
 * it.
 */
export async function* listAll(
  store: ObjectStore,
  prefix: string,
  signal?: AbortSignal,
): AsyncGenerator<ListEntry> {
  let after: string | undefined;
  do {
    const { entries, next } = await store.list({ prefix, after, limit: LIST_LIMIT, signal });
    yield* entries;
    if (next !== undefined && after !== undefined && compareKeys(next, after) <= 0) {
      throw new NetsealError(
        'EUNAVAILABLE',
        `${store.name}: the list of ${prefix} does not go on after ${after}`,
      );
    }
    after = next;
  } while (after !== undefined);
}
