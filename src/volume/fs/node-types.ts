/** The types of `node:fs/promises` that a volume keeps to: its functions, and the forms of their options. */
/** The functions of `node:fs/promises` that a volume has. */
export type NodeFs = Pick<
  typeof import('node:fs/promises'),
  | 'access'
  | 'appendFile'
  | 'chmod'
  | 'chown'
  | 'constants'
  | 'copyFile'
  | 'lchown'
  | 'link'
  | 'lstat'
  | 'lutimes'
  | 'mkdir'
  | 'mkdtemp'
  | 'open'
  | 'opendir'
  | 'readFile'
  | 'readdir'
  | 'readlink'
  | 'realpath'
  | 'rename'
  | 'rm'
  | 'rmdir'
  | 'stat'
  | 'symlink'
  | 'truncate'
  | 'unlink'
  | 'utimes'
  | 'writeFile'
>;

export type Encoding = BufferEncoding | null | undefined;
export type EncodingOptions = { readonly encoding?: Encoding } | Encoding;
export type BytesOption = { readonly encoding: 'buffer' } | 'buffer';
export type ListOptions = { readonly encoding?: Encoding; readonly recursive?: boolean | undefined };
export type DataOptions =
  | {
      readonly encoding?: Encoding;
      readonly mode?: number | string | undefined;
      readonly flag?: string | number | undefined;
      readonly signal?: AbortSignal | undefined;
    }
  | Encoding;
export type ReadOptions = {
  readonly flag?: string | number | undefined;
  readonly signal?: AbortSignal | undefined;
};
export type View = NodeJS.ArrayBufferView;
export type BufferView<Bytes extends View> =
  Bytes extends NodeJS.ArrayBufferView<infer Memory> ? Buffer<Memory> : never;
export type Bytes = Buffer<ArrayBuffer>;
export type Time = string | number | Date;
