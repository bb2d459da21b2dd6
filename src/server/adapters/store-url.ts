/**
 * URLs of stores that are elsewhere. Pure.
 *
 *   s3://BUCKET/PREFIX?endpoint=URL&region=NAME
 *
 * Secrets have no place in them: URLs are printed, and stand in the list of processes.
 */
import { NetsealError, requireArgument } from '../../base/errors.ts';

export interface S3Place {
  readonly type: 's3';
  readonly bucket: string;
  /** Without `/` at its ends. */
  readonly prefix: string;
  readonly endpoint: string | undefined;
  readonly region: string | undefined;
}

export type StorePlace = S3Place;

/** What each scheme's URL says. Add a store by adding a row, and its opening in `open-url.ts`. */
const SCHEMES: Readonly<Record<string, (url: URL) => StorePlace>> = { 's3:': s3Place };

/** The schemes, for messages. */
export const STORE_URLS: string = Object.keys(SCHEMES)
  .map(scheme => `${scheme}//`)
  .join(', ');

/** True for text that begins with a scheme of this table. */
export function isStoreUrl(text: string): boolean {
  const scheme = /^[a-z][a-z0-9+.-]*:(?=\/\/)/i.exec(text)?.[0].toLowerCase();
  return scheme !== undefined && Object.hasOwn(SCHEMES, scheme);
}

/** Reads the URL of a store. EINVAL. */
export function parseStoreUrl(text: string): StorePlace {
  const parse = URL.canParse(text) ? SCHEMES[new URL(text).protocol] : undefined;
  if (parse === undefined)
    throw new NetsealError('EINVAL', `not a store's URL: ${text}; known are ${STORE_URLS}`);
  const url = new URL(text);
  if (url.password !== '') {
    url.password = '';
    throw new NetsealError('EINVAL', `a store's URL holds no password, and this one does: ${url.href}`);
  }
  requireArgument(url.hash === '', `a store's URL has no "#": write it as %23 in ${text}`);
  return parse(url);
}

/** Returns the one spelling of a store's URL. EINVAL. */
export function canonicalStoreUrl(text: string): string {
  const { bucket, prefix, endpoint, region } = parseStoreUrl(text);
  const query = new URLSearchParams();
  if (endpoint !== undefined) query.set('endpoint', endpoint);
  // With an endpoint the region is only a word in a signature.
  if (region !== undefined && endpoint === undefined) query.set('region', region);
  const path = prefix === '' ? '' : `/${prefix.split('/').map(encodeURIComponent).join('/')}`;
  return `s3://${bucket}${path}${query.size === 0 ? '' : `?${query}`}`;
}

function s3Place(url: URL): S3Place {
  const { hostname: bucket, username, port, searchParams } = url;
  const needed = 's3://BUCKET/PREFIX?endpoint=URL&region=NAME';
  requireArgument(bucket !== '' && username === '' && port === '', `not ${needed}: ${url.href}`);
  for (const name of searchParams.keys()) {
    const isKnown = (name === 'endpoint' || name === 'region') && searchParams.getAll(name).length === 1;
    requireArgument(isKnown, `${url.href}: unknown, or twice: ${name}; it is ${needed}`);
  }
  const endpoint = searchParams.get('endpoint') ?? undefined;
  if (endpoint !== undefined) requireEndpoint(endpoint, url);
  let prefix: string;
  try {
    prefix = decodeURIComponent(url.pathname).replace(/^\/+|\/+$/g, '');
  } catch {
    throw new NetsealError('EINVAL', `${url.href}: "%" begins no character; write it as %25`);
  }
  return {
    type: 's3',
    bucket,
    prefix,
    endpoint: endpoint?.replace(/\/+$/, ''),
    region: searchParams.get('region') ?? undefined,
  };
}

function requireEndpoint(endpoint: string, url: URL): void {
  const isHttp = URL.canParse(endpoint) && /^https?:$/.test(new URL(endpoint).protocol);
  requireArgument(isHttp, `${url.href}: the endpoint is a URL that begins with http:// or https://`);
  const { username, password } = new URL(endpoint);
  requireArgument(username === '' && password === '', 'an endpoint holds no user and no password');
}
