/** Opens the store that a URL names, by the adapter of its scheme, which is loaded only then. */
import { requireObject, requireText } from '../../base/arguments.ts';
import type { ObjectStore } from '../store.ts';
import { parseStoreUrl } from './store-url.ts';

export interface OpenStoreUrlOptions {
  /** How many requests may run at once. Default 64. */
  readonly concurrency?: number | undefined;
}

/**
 * Opens a store by its URL: see `store-url.ts`. Put `wrapStore` around it: it retries nothing by itself.
 *
 * Rejects with EINVAL for text that is no such URL, and EUNSUPPORTED when the library that it needs is not installed.
 */
export async function openStoreUrl(url: string, options: OpenStoreUrlOptions = {}): Promise<ObjectStore> {
  requireText('url', url);
  requireObject('options', options);
  const { concurrency } = options;
  const { bucket, prefix, endpoint, region } = parseStoreUrl(url);
  const { openS3Store } = await import('./s3-store.ts');
  return await openS3Store({ bucket, prefix, endpoint, region, concurrency });
}
