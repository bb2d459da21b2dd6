/**
 * Cookies: the names by which people know objects. Objects can be listed by them, and pinned by what they
 * begin with.
 *
 * An object has at most one cookie. A key belongs to at most one object of a volume: the one that was given
 * it last.
 *
 * A cookie takes two rows. Their names are keyed hashes.
 *
 *   kind        name is the hash of   value
 *   cookie      volume and object     flags u8 (1: has a unit count), zero u8, day u16 of the last change,
 *                                     unit count u64, volume id[16], object id[16], key
 *   cookieKey   volume and key        object id[16]
 */
import { requireObject } from '../../base/arguments.ts';
import { concatBytes, equalBytes, getU64, setU64, viewOf } from '../../base/bytes.ts';
import { requireArgument } from '../../base/errors.ts';
import { ID_BYTES } from '../../base/ids.ts';
import type { Fingerprinter } from '../index/fingerprints.ts';
import { AFTER_ALL_NAMES, BEFORE_ALL_NAMES, type RowChange } from '../rows/row.ts';
import type { Rows } from '../rows/rows.ts';
import { dayOf, idsOf, newRowPrefix, ROW_PREFIX_BYTES } from './row-prefix.ts';
import type { VolumeState } from './volumes.ts';

export const COOKIE_BYTES_MAX = 4096;

/** The name by which people know an object: a path, say, or a key on a server. */
export interface Cookie {
  /** 1 to 4,096 bytes. */
  readonly key: Uint8Array;
  /** How many units the object has, if that is known. */
  readonly unitCount?: number | undefined;
}

export interface ListedCookie extends Cookie {
  readonly objectId: Uint8Array;
}

/** A cookie of any volume, as the sweep of old rows sees it. */
export interface CookieRow extends ListedCookie {
  readonly name: Uint8Array;
  readonly volumeId: Uint8Array;
  readonly day: number;
}

export class Cookies {
  readonly #rows: Rows;
  readonly #fingerprinter: Fingerprinter;
  readonly #nowMs: () => number;

  constructor(rows: Rows, fingerprinter: Fingerprinter, nowMs: () => number) {
    this.#rows = rows;
    this.#fingerprinter = fingerprinter;
    this.#nowMs = nowMs;
  }

  get hasAny(): boolean {
    return this.#rows.mayHaveAny('cookie');
  }

  get(volume: VolumeState, objectId: Uint8Array): ListedCookie | undefined {
    if (!this.hasAny) return undefined;
    const name = this.#name(volume, objectId);
    const value = this.#rows.get('cookie', name);
    return value === undefined ? undefined : decode(name, value);
  }

  /**
   * Sets an object's cookie. Check it with {@link checkCookie} first. Returns the objects whose cookies have
   * changed.
   */
  set(volume: VolumeState, objectId: Uint8Array, { key, unitCount }: Cookie): Uint8Array[] {
    const known = this.get(volume, objectId);
    if (known !== undefined && known.unitCount === unitCount && equalBytes(known.key, key)) return [];
    const changed: Uint8Array[] = [new Uint8Array(objectId)];
    if (known !== undefined && !equalBytes(known.key, key)) this.#removeKey(volume, objectId, known.key);
    const keyName = this.#keyName(volume, key);
    const holder = this.#rows.get('cookieKey', keyName);
    // The holder's own row decides: the row of the key may be left over from a damaged one.
    const isHeld =
      holder?.byteLength === ID_BYTES &&
      !equalBytes(holder, objectId) &&
      equalBytes(this.get(volume, holder)?.key ?? NONE, key);
    if (isHeld) {
      this.#rows.remove('cookie', this.#name(volume, holder));
      changed.push(holder);
    }
    const prefix = newRowPrefix(volume.id, objectId);
    const view = viewOf(prefix);
    prefix[0] = unitCount === undefined ? 0 : 1;
    view.setUint16(2, dayOf(this.#nowMs()), true);
    setU64(view, 4, unitCount ?? 0);
    this.#rows.put('cookieKey', keyName, objectId.slice());
    this.#rows.put('cookie', this.#name(volume, objectId), concatBytes(prefix, key));
    return changed;
  }

  /** Removes an object's cookie. False when there was none. */
  remove(volume: VolumeState, objectId: Uint8Array): boolean {
    const known = this.get(volume, objectId);
    if (known === undefined) return false;
    this.#removeKey(volume, objectId, known.key);
    this.#rows.remove('cookie', this.#name(volume, objectId));
    return true;
  }

  /**
   * Returns a page of a volume's cookies: those among the next `limit` rows of all volumes. A cookie that is
   * set between two pages may be left out.
   *
   * @param after the `next` of the page before. `next` is undefined at the end.
   */
  page(
    volume: VolumeState,
    after: Uint8Array = BEFORE_ALL_NAMES,
    limit = 64,
  ): { readonly cookies: ListedCookie[]; readonly next: Uint8Array | undefined } {
    if (!this.hasAny) return { cookies: [], next: undefined };
    const { rows, next } = this.#rows.page('cookie', after, AFTER_ALL_NAMES, limit);
    const cookies = rows.flatMap(({ name, value }) => {
      const cookie = decode(name, value);
      return cookie !== undefined && equalBytes(cookie.volumeId, volume.id) ? cookie : [];
    });
    return { cookies, next };
  }

  /** Returns the cookies of all volumes whose rows have names between two. */
  rowsOf(after: Uint8Array, before: Uint8Array): CookieRow[] {
    const { rows } = this.#rows.page('cookie', after, before, Number.MAX_SAFE_INTEGER);
    return rows.flatMap(({ name, value }) => decode(name, value) ?? []);
  }

  /**
   * Returns the cookies, of all volumes, that are only in memory because the database cannot be written now.
   */
  unsaved(): CookieRow[] {
    return this.#rows.unsavedRows('cookie').flatMap(({ name, value }) => decode(name, value) ?? []);
  }

  /** Removes cookies. False when that could not be written yet. */
  removeRows(rows: readonly CookieRow[]): boolean {
    const gone = rows.flatMap(({ name, volumeId, objectId, key }): RowChange[] => {
      const keyName = this.#keyName({ id: volumeId }, key);
      const cookie: RowChange = { kind: 'cookie', name, value: undefined };
      const isHeld = this.#isHeldBy(keyName, objectId);
      return isHeld ? [cookie, { kind: 'cookieKey', name: keyName, value: undefined }] : [cookie];
    });
    return this.#rows.saveAll(gone);
  }

  #removeKey(volume: VolumeState, objectId: Uint8Array, key: Uint8Array): void {
    const keyName = this.#keyName(volume, key);
    if (this.#isHeldBy(keyName, objectId)) this.#rows.remove('cookieKey', keyName);
  }

  #isHeldBy(keyName: Uint8Array, objectId: Uint8Array): boolean {
    const holder = this.#rows.get('cookieKey', keyName);
    return holder !== undefined && equalBytes(holder, objectId);
  }

  #name(volume: VolumeState, objectId: Uint8Array): Uint8Array {
    return this.#fingerprinter.name('cookie', volume.id, objectId);
  }

  #keyName(volume: Pick<VolumeState, 'id'>, key: Uint8Array): Uint8Array {
    return this.#fingerprinter.name('cookie key', volume.id, key);
  }
}

const NONE = new Uint8Array(0);

/** EINVAL unless key and unit count are in range. */
export function checkCookie(cookie: Cookie): void {
  requireObject('cookie', cookie);
  const { key, unitCount } = cookie;
  requireArgument(
    key instanceof Uint8Array && key.byteLength > 0 && key.byteLength <= COOKIE_BYTES_MAX,
    `the key of a cookie must be of 1 to ${COOKIE_BYTES_MAX} bytes`,
  );
  checkUnitCount(unitCount);
}

export function checkUnitCount(unitCount: number | undefined): void {
  requireArgument(
    unitCount === undefined || (Number.isSafeInteger(unitCount) && unitCount >= 0),
    `a unit count must be an integer from 0, not ${unitCount}`,
  );
}

function decode(name: Uint8Array, value: Uint8Array): CookieRow | undefined {
  if (value.byteLength <= ROW_PREFIX_BYTES) return undefined;
  const view = viewOf(value);
  return {
    name,
    day: view.getUint16(2, true),
    unitCount: ((value[0] ?? 0) & 1) === 0 ? undefined : getU64(view, 4),
    ...idsOf(value),
    key: value.slice(ROW_PREFIX_BYTES),
  };
}
