/**
 * What netseal knows of drivers of unstorage: their calls, in a form that any version's drivers fit. The library
 * itself is not needed for that.
 */

export interface UnstorageMeta {
  mtime?: Date;
  size?: number;
  [name: string]: UnstorageValue | Date | undefined;
}

/** What an item can be. */
type UnstorageValue = null | string | number | boolean | object;

/** Returned at once, or later. */
type Answer<Value> = Value | Promise<Value>;

/** A driver of unstorage. Keys are parts divided by `:`. */
export interface UnstorageDriver {
  readonly name?: string;
  hasItem(key: string, options: object): Answer<boolean>;
  /** Null when there is none. */
  getItem(key: string, options?: object): Answer<UnstorageValue>;
  getItemRaw?(key: string, options: object): Answer<unknown>;
  setItem?(key: string, value: string, options: object): Answer<void>;
  setItemRaw?(key: string, value: unknown, options: object): Answer<void>;
  removeItem?(key: string, options: object): Answer<void>;
  getMeta?(key: string, options: object): Answer<UnstorageMeta | null>;
  getKeys(base: string, options: object): Answer<string[]>;
  clear?(base: string, options: object): Answer<void>;
  dispose?(): Answer<void>;
}
