/**
 * S3 stores: Amazon's, Ceph's gateway and others that speak the same protocol, by way of `@aws-sdk/client-s3`. Create and
 * swap are conditional PUTs, which are atomic there; `probeStore` finds servers that ignore the conditions.
 *
 * Known traps, and what is done about each:
 *   - A quoted etag in `If-Match` fails on Ceph's gateway, so etags are sent bare.
 *   - Equal content has equal etags. The header of each object is random, so no content is equal to another.
 *   - A loser of a race may be answered with 500. Then the put is sent again, which tells: see `adaptStore`.
 *   - The SDK's own retries would hide what was lost, so it has none: `wrapStore` retries.
 *   - The SDK's checksums of its own make some servers refuse a stream; a client of our own makes them only where it
 *     must, and another's is given whole arrays.
 */

import { Readable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { S3Client, S3ClientConfig } from '@aws-sdk/client-s3';
import { requireInteger, requireMethods, requireObject, requireText } from '../../base/arguments.ts';
import { copyBytes } from '../../base/bytes.ts';
import type { CallOptions } from '../../base/call-options.ts';
import { NetsealError, requireArgument } from '../../base/errors.ts';
import { KEY_BYTES_MAX, type ObjectStore } from '../store.ts';
import { adaptStore } from './adapt-store.ts';
import { statusOf } from './client-errors.ts';
import { loadLibrary } from './optional-library.ts';
import type {
  ClientGetOptions,
  ClientObject,
  ClientPage,
  ClientPutOptions,
  ClientStat,
  ObjectBody,
  StorageClient,
} from './storage-client.ts';

/** An `S3Client` of `@aws-sdk/client-s3`, described without that package, which need not be installed. */
export interface S3ClientLike {
  send(command: object, options?: object): Promise<unknown>;
  destroy(): void;
}

export interface S3StoreSettings {
  readonly bucket: string;
  /** The beginning of all keys, without `/` at its ends. Default: none. */
  readonly prefix?: string | undefined;
  /** For other servers than Amazon's: `http://127.0.0.1:7480`. */
  readonly endpoint?: string | undefined;
  readonly region?: string | undefined;
  /** A client that is there already, and is not closed with the store. Default: a new one, with the SDK's credentials. */
  readonly client?: S3ClientLike | undefined;
  /** How many requests may run at once. Default 64. */
  readonly concurrency?: number | undefined;
}

type Library = typeof import('@aws-sdk/client-s3');

/** The longest object of one PUT. */
const OBJECT_BYTES_MAX: number = 5 * 2 ** 30;
const LIST_ENTRIES_MAX = 1000;
const CONCURRENCY_DEFAULT = 64;
/** Nothing was sent or received for so long: the connection is given up. */
const IDLE_MS = 60_000;
const CONNECT_MS = 10_000;

/** The SDK wants a region. Servers other than Amazon's take any. */
const REGION_OF_OTHERS = 'us-east-1';

/**
 * Opens a store in a bucket, which must be there. It asks nothing yet.
 *
 * Rejects with EINVAL for bad settings, and EUNSUPPORTED when the SDK is not installed.
 */
export async function openS3Store(settings: S3StoreSettings): Promise<ObjectStore> {
  requireObject('settings', settings);
  const { bucket, prefix = '', endpoint, region, client, concurrency = CONCURRENCY_DEFAULT } = settings;
  requireText('settings.bucket', bucket);
  requireArgument(bucket !== '', 'settings.bucket is empty');
  requireText('settings.prefix', prefix);
  requireArgument(!/^\/|\/$/.test(prefix), `a prefix neither begins nor ends with "/": ${prefix}`);
  if (endpoint !== undefined) requireText('settings.endpoint', endpoint);
  requireArgument(endpoint === undefined || URL.canParse(endpoint), `not an endpoint's URL: ${endpoint}`);
  if (region !== undefined) requireText('settings.region', region);
  if (client !== undefined) requireMethods('settings.client', client, ['send']);
  requireInteger('settings.concurrency', concurrency, 1);
  const library = await loadLibrary<Library>('@aws-sdk/client-s3', 's3:// stores');
  const config: S3ClientConfig = {
    ...(endpoint === undefined ? {} : { endpoint, forcePathStyle: true }),
    ...(region === undefined && endpoint === undefined ? {} : { region: region ?? REGION_OF_OTHERS }),
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    maxAttempts: 1,
    requestHandler: {
      connectionTimeout: CONNECT_MS,
      socketTimeout: IDLE_MS,
      httpAgent: { keepAlive: true, maxSockets: concurrency },
      httpsAgent: { keepAlive: true, maxSockets: concurrency },
    },
  };
  const own = client === undefined ? new library.S3Client(config) : undefined;
  const place = prefix === '' ? bucket : `${bucket}/${prefix}`;
  const name = endpoint === undefined ? `s3://${place}` : `s3://${place} at ${endpoint}`;
  // The library of the other client knows the same commands.
  const used = (own ?? client) as S3Client;
  return adaptStore({
    ...s3Client(library, used, { bucket, prefix, isOwn: own !== undefined }),
    name,
    concurrency,
    close: async () => own?.destroy(),
  });
}

function s3Client(
  library: Library,
  client: S3Client,
  {
    bucket: Bucket,
    prefix,
    isOwn,
  }: { readonly bucket: string; readonly prefix: string; readonly isOwn: boolean },
): Omit<StorageClient, 'name'> {
  const { GetObjectCommand, PutObjectCommand, HeadObjectCommand, DeleteObjectCommand } = library;
  const root = prefix === '' ? '' : `${prefix}/`;
  const at = (key: string): { readonly Bucket: string; readonly Key: string } => {
    const whole = root + key;
    requireArgument(Buffer.byteLength(whole) <= KEY_BYTES_MAX, `the key is too long for S3: ${whole}`);
    return { Bucket, Key: whole };
  };
  return {
    conditions: 'atomic',
    etags: true,
    ranges: true,
    atomicPut: true,
    sharedMemory: true,
    objectBytesMax: OBJECT_BYTES_MAX,
    listEntriesMax: LIST_ENTRIES_MAX,

    async get(key, { range, into, signal }: ClientGetOptions): Promise<ClientObject | undefined> {
      const Range = range === undefined ? undefined : rangeHeader(range);
      try {
        const answer = await client.send(new GetObjectCommand({ ...at(key), Range }), abortBy(signal));
        const { Body, ContentLength = 0, ContentRange, ETag, LastModified } = answer;
        if (!(Body instanceof Readable)) throw new NetsealError('EIO', 'the client gives no stream');
        // The bytes of a server that ignores the range would be taken for others.
        if (range !== undefined && ContentRange === undefined)
          throw new NetsealError('EUNSUPPORTED', 'the server gives no ranges');
        const bytes = await readStream(Body, ContentLength, into, signal);
        return {
          bytes,
          totalBytes: totalOf(ContentRange) ?? ContentLength,
          etag: ETag,
          modifiedAtMs: LastModified?.getTime(),
        };
      } catch (error) {
        // The range begins behind the end.
        if (range === undefined || statusOf(error) !== 416) throw error;
        const { totalBytes, etag, modifiedAtMs } = await head(key, { signal });
        return { bytes: new Uint8Array(0), totalBytes, etag, modifiedAtMs };
      }
    },

    async put(
      key,
      { parts, lengthBytes, bytes }: ObjectBody,
      { ifAbsent, ifMatch, signal }: ClientPutOptions,
    ) {
      const body = isOwn ? Readable.from(parts, { objectMode: false, highWaterMark: 1 }) : bytes();
      const command = new PutObjectCommand({
        ...at(key),
        Body: body,
        ContentLength: lengthBytes,
        ...(ifAbsent === undefined ? {} : { IfNoneMatch: '*' }),
        ...(ifMatch === undefined ? {} : { IfMatch: ifMatch }),
      });
      try {
        const { ETag } = await client.send(command, abortBy(signal));
        return { etag: ETag };
      } catch (error) {
        // A socket that was given up lets go of the parts when it is closed, in the turns that follow.
        if (body instanceof Readable) body.destroy();
        for (let turn = 0; turn < 3; turn += 1) await nextTurn();
        throw error;
      }
    },

    async delete(key, { signal }) {
      await client.send(new DeleteObjectCommand(at(key)), abortBy(signal));
    },

    stat: head,

    errorCode(error) {
      if (!(error instanceof Error)) return undefined;
      if (error.name === 'CredentialsProviderError') return 'EDENIED';
      return error.name === 'NoSuchBucket' ? 'EINVAL' : undefined;
    },

    async listPage({ prefix: keyPrefix, after, limit, signal }): Promise<ClientPage> {
      const command = new library.ListObjectsV2Command({
        Bucket,
        Prefix: root + keyPrefix,
        MaxKeys: limit,
        ...(after === undefined ? {} : { StartAfter: root + after }),
      });
      const { Contents = [], IsTruncated = false } = await client.send(command, abortBy(signal));
      const entries = Contents.map(({ Key = '', Size = 0, ETag, LastModified }) => ({
        key: Key.slice(root.length),
        totalBytes: Size,
        etag: ETag,
        modifiedAtMs: inSeconds(LastModified),
      }));
      return { entries, isTruncated: IsTruncated };
    },

    async now({ signal }) {
      const command = new library.ListObjectsV2Command({ Bucket, Prefix: root, MaxKeys: 1 });
      let date: string | undefined;
      command.middlewareStack.add(
        next => async given => {
          const answer = await next(given);
          date = headerOf(answer.response, 'date');
          return answer;
        },
        { step: 'deserialize', priority: 'low' },
      );
      await client.send(command, abortBy(signal));
      const nowMs = Date.parse(date ?? '');
      if (Number.isNaN(nowMs)) throw new NetsealError('EIO', 'the server tells no time');
      return nowMs;
    },
  };

  async function head(key: string, { signal }: CallOptions): Promise<ClientStat> {
    const answer = await client.send(new HeadObjectCommand(at(key)), abortBy(signal));
    const { ContentLength = 0, ETag, LastModified } = answer;
    return { totalBytes: ContentLength, etag: ETag, modifiedAtMs: LastModified?.getTime() };
  }
}

/** Lists tell milliseconds, other answers whole seconds: both must be the same time. */
function inSeconds(time: Date | undefined): number | undefined {
  return time === undefined ? undefined : Math.floor(time.getTime() / 1000) * 1000;
}

function abortBy(signal: AbortSignal | undefined): { readonly abortSignal?: AbortSignal } {
  return signal === undefined ? {} : { abortSignal: signal };
}

/** Both ends of an HTTP range count. */
function rangeHeader({ offsetBytes, lengthBytes }: NonNullable<ClientGetOptions['range']>): string {
  return `bytes=${offsetBytes}-${lengthBytes === undefined ? '' : offsetBytes + lengthBytes - 1}`;
}

/** Returns the length of the whole object: `bytes 0-9/1234`. */
function totalOf(contentRange: string | undefined): number | undefined {
  const total = /\/(\d+)$/.exec(contentRange ?? '')?.[1];
  return total === undefined ? undefined : Number(total);
}

/** Reads a stream into `into`, or into new memory. Rejects when it ends early. */
async function readStream(
  stream: Readable,
  lengthBytes: number,
  into: Uint8Array | undefined,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  const bytes = into?.subarray(0, lengthBytes) ?? new Uint8Array(lengthBytes);
  let endBytes = 0;
  for await (const chunk of stream) {
    signal?.throwIfAborted();
    const part = chunk as Uint8Array;
    if (endBytes + part.byteLength > bytes.byteLength) {
      throw new NetsealError('EUNAVAILABLE', 'the server sends more than was asked for');
    }
    copyBytes(part, bytes, endBytes);
    endBytes += part.byteLength;
  }
  signal?.throwIfAborted();
  if (endBytes < bytes.byteLength) throw new NetsealError('EUNAVAILABLE', 'the answer ended early');
  return bytes;
}

function headerOf(response: unknown, name: string): string | undefined {
  const headers: unknown =
    typeof response === 'object' && response !== null ? Reflect.get(response, 'headers') : undefined;
  const value: unknown =
    typeof headers === 'object' && headers !== null ? Reflect.get(headers, name) : undefined;
  return typeof value === 'string' ? value : undefined;
}
