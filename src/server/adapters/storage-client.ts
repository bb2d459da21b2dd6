/**
 * What {@link adaptStore} asks of a storage client: a few functions, most of which are one call of a library.
 *
 * Keys are those of `checkKey`: 1 to 1024 bytes of UTF-8 in segments that are divided by `/`; `a` and `a/b` may both
 * exist. A function rejects with whatever the library throws: see `client-errors.ts`.
 */
import type { CallOptions } from '../../base/call-options.ts';
import type { ErrorCode } from '../../base/errors.ts';

/** The bytes of a put. They hold still until the call has settled, and belong to the caller. */
export interface ObjectBody {
  readonly parts: readonly Uint8Array[];
  readonly lengthBytes: number;
  /** All parts as one array: the only part itself, or a copy. */
  bytes(): Uint8Array;
}

export interface ClientGetOptions extends CallOptions {
  /** Given only to a client that has `ranges`. Without a length: to the end. */
  readonly range?: { readonly offsetBytes: number; readonly lengthBytes?: number | undefined } | undefined;
  /** Where the bytes may go, to save a copy: as long as the range. */
  readonly into?: Uint8Array | undefined;
}

export interface ClientObject {
  /** Those of the range: fewer, or none, where the object ends. May be a view of `into`. */
  readonly bytes: Uint8Array;
  /** Of the whole object. Needed from clients that have `ranges`. */
  readonly totalBytes?: number | undefined;
  readonly etag?: string | undefined;
  readonly modifiedAtMs?: number | undefined;
}

export interface ClientPutOptions extends CallOptions {
  /** Only if there is no such object. Given only to a client that has conditions. */
  readonly ifAbsent?: true | undefined;
  /** Only if the object has this etag. Given only to a client that has conditions. */
  readonly ifMatch?: string | undefined;
}

export interface ClientStat {
  readonly totalBytes: number;
  /** In ms since 1970. What has no time counts as new for ever: gc never takes it. */
  readonly modifiedAtMs?: number | undefined;
  readonly etag?: string | undefined;
}

export interface ClientEntry extends ClientStat {
  readonly key: string;
}

export interface ClientPage {
  readonly entries: readonly ClientEntry[];
  /** True when more follow. */
  readonly isTruncated: boolean;
}

export interface StorageClient {
  /** For messages. Never holds secrets. */
  readonly name: string;
  /** Reads an object. Undefined or null when there is none, unless the library throws then. */
  get(key: string, options: ClientGetOptions): Promise<Uint8Array | ClientObject | undefined | null>;
  /** Writes an object, durably. */
  put(
    key: string,
    body: ObjectBody,
    options: ClientPutOptions,
  ): Promise<{ etag?: string | undefined } | unknown>;
  /** Removes an object, if there is one. */
  delete(key: string, options: CallOptions): Promise<unknown>;
  /** Default: what `get` tells. */
  stat?(key: string, options: CallOptions): Promise<ClientStat | undefined | null>;
  /** Lists all objects with the prefix, in any order. Without this and `listPage`, the store lists nothing. */
  list?(prefix: string, options: CallOptions): Promise<Iterable<ClientEntry>> | AsyncIterable<ClientEntry>;
  /** Lists one page in the order of the keys' bytes, for clients that can. */
  listPage?(
    options: CallOptions & {
      readonly prefix: string;
      readonly after?: string | undefined;
      readonly limit: number;
    },
  ): Promise<ClientPage>;
  /** The server's clock. Default: this machine's. */
  now?(options: CallOptions): Promise<number>;
  close?(): Promise<void>;

  /**
   * `atomic`: of any number of puts with `ifAbsent`, or with one `ifMatch`, by any clients, exactly one succeeds. Then
   * `etags` is true. Default: none, so that only one client may write.
   */
  readonly conditions?: 'atomic' | 'none' | undefined;
  /** Whether `get`, `put`, `stat` and lists tell etags, another one for each content. Default: false. */
  readonly etags?: boolean | undefined;
  /** Whether `get` takes a range. Only of use with etags. Default: false. */
  readonly ranges?: boolean | undefined;
  /** Whether readers see the whole old object or the whole new one. Default: false. */
  readonly atomicPut?: boolean | undefined;
  /** Whether the library takes shared memory. Default: false; then parts are copied first. */
  readonly sharedMemory?: boolean | undefined;
  /** Whether a list shows all changes that were acknowledged before it began. Default: true. */
  readonly listIsConsistent?: boolean | undefined;
  readonly objectBytesMax?: number | undefined;
  readonly listEntriesMax?: number | undefined;
  /** How many calls may run at once. Default 64. */
  readonly concurrency?: number | undefined;
  /** What an error of the library means, where neither a status nor a code of the system tells. */
  errorCode?(error: unknown, call: 'read' | 'change'): ErrorCode | undefined;
}
