/** The volumes of a cache: their generations, numbers, shares and floors. */
import { requireBytes } from '../../base/arguments.ts';
import { getU64, setU64, toHex, viewOf } from '../../base/bytes.ts';
import { NetsealError } from '../../base/errors.ts';
import { ID_BYTES } from '../../base/ids.ts';
import { randomBytes } from '../../base/random.ts';
import type { Fingerprinter } from '../index/fingerprints.ts';
import { VOLUME_NUMBER_MAX } from '../index/index-table.ts';
import type { RowChange } from '../rows/row.ts';
import type { Rows } from '../rows/rows.ts';

/**
 * Counts the bytes that the index finds under one volume number.
 *
 * An invalidated volume goes on under another number. So its share counts only new units, whenever the old
 * ones are given up.
 */
export interface VolumeAccount {
  readonly number: number;
  liveBytes: number;
  /** The volume that has the number, or had it last. */
  volume: VolumeState | undefined;
}

export class VolumeState {
  readonly id: Uint8Array;
  /** The name of its row. */
  readonly name: Uint8Array;
  account: VolumeAccount;
  generation: number;
  /** How many bytes of the cache it may take; Infinity for no limit. */
  shareBytes: number = Number.POSITIVE_INFINITY;
  pin = false;
  /** True when it was asked for since the cache was opened. */
  isInUse = false;
  /**
   * The generation of its objects without rows, by bucket; see `object-rows.ts`. Undefined until one is
   * raised.
   */
  floors: Float64Array | undefined;
  /** True when its row on the disk says that it has floors. */
  hasFloorsStored = false;
  /** True when it was forgotten to make room. Should its id come back, that is another state. */
  isForgotten = false;
  /** Grows with each invalidation. Prefixes made at another age are not valid. */
  age = 0;

  constructor(id: Uint8Array, name: Uint8Array, account: VolumeAccount, generation: number) {
    this.id = id;
    this.name = name;
    this.account = account;
    account.volume = this;
    this.generation = generation;
  }

  get number(): number {
    return this.account.number;
  }

  /** The bytes that the index finds of it now. */
  get liveBytes(): number {
    return this.account.liveBytes;
  }
}

const ROW_BYTES = 35;
const FLAG_FLOORS = 1;

/** Returns a random generation, which nothing had before. Never 0; below 2^53. */
export function newGeneration(): number {
  const bytes = randomBytes(8);
  bytes[6] = (bytes[6] ?? 0) & 0x1f;
  bytes[7] = 0;
  return Math.max(1, getU64(viewOf(bytes), 0) ?? 1);
}

export class Volumes {
  readonly #rows: Rows;
  readonly #fingerprinter: Fingerprinter;
  readonly #volumes = new Map<string, VolumeState>();
  readonly #accounts = new Map<number, VolumeAccount>();
  readonly #mayForget: (volume: VolumeState) => boolean;

  /**
   * @param mayForget whether a volume without units may be forgotten. When it returns true, it has forgotten
   *   the volume's objects.
   */
  constructor(rows: Rows, fingerprinter: Fingerprinter, mayForget: (volume: VolumeState) => boolean) {
    this.#rows = rows;
    this.#fingerprinter = fingerprinter;
    this.#mayForget = mayForget;
    for (const { name, value } of rows.all('volume')) this.#load(name, value);
  }

  /**
   * Returns the volume of an id, and makes it known. A volume that the database does not know begins with a
   * new generation: should the database have been lost, nothing older is found. EFULL when there are 4,096
   * others that are needed.
   */
  volume(id: Uint8Array): VolumeState {
    requireBytes('volumeId', id, ID_BYTES);
    const key = toHex(id);
    const known = this.#volumes.get(key);
    if (known !== undefined) return known;
    const account = this.#freeAccount() ?? this.#forgetOne() ?? this.#unusedAccount();
    if (account === undefined) {
      throw new NetsealError('EFULL', `a cache serves at most ${VOLUME_NUMBER_MAX + 1} volumes`);
    }
    const name = this.#fingerprinter.name('volume', id);
    const volume = new VolumeState(new Uint8Array(id), name, account, newGeneration());
    this.#volumes.set(key, volume);
    // If a power cut loses this row, all cached units of the volume are lost.
    this.save(volume);
    this.#rows.isFlushDue = true;
    return volume;
  }

  all(): VolumeState[] {
    return [...this.#volumes.values()];
  }

  /** Returns the volume that has a number, or had it last. */
  ofNumber(number: number): VolumeState | undefined {
    return this.#accounts.get(number)?.volume;
  }

  known(id: Uint8Array): VolumeState | undefined {
    return this.#volumes.get(toHex(id));
  }

  /** Returns the account of a number, which a volume has now or had before. */
  account(number: number): VolumeAccount {
    const known = this.#accounts.get(number);
    if (known !== undefined) return known;
    const account = { number, liveBytes: 0, volume: undefined };
    this.#accounts.set(number, account);
    return account;
  }

  accounts(): Iterable<VolumeAccount> {
    return this.#accounts.values();
  }

  /** Invalidates a volume: none of its cached units is found any more. */
  invalidate(volume: VolumeState): void {
    volume.generation = newGeneration();
    volume.age += 1;
    volume.account = this.#freeAccount() ?? volume.account;
    volume.account.volume = volume;
    this.save(volume);
  }

  /** Writes the volume's row. False when it could not be written yet. */
  save(volume: VolumeState): boolean {
    return this.#rows.put('volume', volume.name, this.#encode(volume, volume.floors !== undefined));
  }

  #encode({ id, number, generation, shareBytes }: VolumeState, hasFloors: boolean): Uint8Array {
    const value = new Uint8Array(ROW_BYTES);
    const view = viewOf(value);
    value.set(id);
    view.setUint16(16, number, true);
    setU64(view, 18, generation);
    // A share beyond what the row can hold is as good as none.
    setU64(view, 26, shareBytes <= Number.MAX_SAFE_INTEGER ? shareBytes : 0);
    value[34] = hasFloors ? FLAG_FLOORS : 0;
    return value;
  }

  #load(name: Uint8Array, value: Uint8Array): void {
    if (value.byteLength !== ROW_BYTES) return;
    const view = viewOf(value);
    const account = this.account(view.getUint16(16, true) & VOLUME_NUMBER_MAX);
    const share = getU64(view, 26) ?? 0;
    const id = value.slice(0, ID_BYTES);
    const volume = new VolumeState(id, name, account, getU64(view, 18) ?? newGeneration());
    if (share > 0) volume.shareBytes = share;
    if (((value[34] ?? 0) & FLAG_FLOORS) !== 0) this.#loadFloors(volume);
    this.#volumes.set(toHex(id), volume);
  }

  #loadFloors(volume: VolumeState): void {
    const value = this.#rows.get('floor', volume.name);
    if (value === undefined || value.byteLength !== FLOOR_COUNT * 8) {
      // What the floors had invalidated is unknown: invalidate the whole volume.
      volume.generation = newGeneration();
      this.save(volume);
      return;
    }
    const view = viewOf(value);
    volume.floors = Float64Array.from(
      { length: FLOOR_COUNT },
      (_, at) => getU64(view, at * 8) ?? newGeneration(),
    );
    volume.hasFloorsStored = true;
  }

  /**
   * Raises the floors of buckets from `from` up to `to`, for some volumes: their objects without rows have
   * another generation from now on. Makes the changes `also` in the same transaction. False when that cannot
   * be written now; then nothing has changed.
   */
  raiseFloors(volumes: Iterable<VolumeState>, from: number, to: number, also: readonly RowChange[]): boolean {
    const raised = [...volumes].map(volume => ({ volume, floors: higherFloors(volume, from, to) }));
    const rows = raised.flatMap(each => this.#floorRows(each));
    if (!this.#rows.trySaveAll([...rows, ...also])) return false;
    for (const { volume, floors } of raised) {
      volume.floors = floors;
      volume.hasFloorsStored = true;
    }
    return true;
  }

  /** Raises the floors of all buckets. What cannot be written now is kept in memory. */
  raiseAllFloors(volumes: Iterable<VolumeState>): void {
    for (const volume of volumes) {
      volume.floors = higherFloors(volume, 0, FLOOR_COUNT);
      const isStored = this.#rows.saveAll(this.#floorRows({ volume, floors: volume.floors }));
      volume.hasFloorsStored ||= isStored;
    }
  }

  #floorRows({
    volume,
    floors,
  }: {
    readonly volume: VolumeState;
    readonly floors: Float64Array;
  }): RowChange[] {
    const value = new Uint8Array(FLOOR_COUNT * 8);
    const view = viewOf(value);
    for (const [at, floor] of floors.entries()) setU64(view, at * 8, floor);
    const row: RowChange = { kind: 'floor', name: volume.name, value };
    if (volume.hasFloorsStored) return [row];
    return [row, { kind: 'volume', name: volume.name, value: this.#encode(volume, true) }];
  }

  #freeAccount(): VolumeAccount | undefined {
    return this.#unusedAccount(({ liveBytes }) => liveBytes === 0);
  }

  /** Returns an account that no volume uses. Invalidated units may still be counted there. */
  #unusedAccount(isFit: (account: VolumeAccount) => boolean = () => true): VolumeAccount | undefined {
    const used = new Set(this.all().map(({ number }) => number));
    for (let number = 0; number <= VOLUME_NUMBER_MAX; number += 1) {
      const account = this.account(number);
      if (!used.has(number) && isFit(account)) return account;
    }
    return undefined;
  }

  /**
   * Forgets a volume without cached units, and returns its account. Should the volume come back, it is a new
   * one.
   */
  #forgetOne(): VolumeAccount | undefined {
    for (const [key, volume] of this.#volumes) {
      if (volume.liveBytes > 0 || volume.isInUse || !this.#mayForget(volume)) continue;
      volume.isForgotten = true;
      this.#volumes.delete(key);
      this.#rows.saveAll([
        { kind: 'volume', name: volume.name, value: undefined },
        { kind: 'floor', name: volume.name, value: undefined },
      ]);
      return volume.account;
    }
    return undefined;
  }
}

function higherFloors({ floors }: VolumeState, from: number, to: number): Float64Array {
  const higher = floors?.slice() ?? new Float64Array(FLOOR_COUNT);
  for (let at = from; at < to; at += 1) higher[at] = newGeneration();
  return higher;
}

/** Names of rows are put in buckets by their first bits. */
const FLOOR_BITS = 10;
export const FLOOR_COUNT: number = 2 ** FLOOR_BITS;

export function floorBucketOf(name: Uint8Array): number {
  return ((name[0] ?? 0) << 2) | ((name[1] ?? 0) >> 6);
}

/** Returns the smallest name of a bucket, cut to two bytes. Names of later buckets are greater. */
export function floorBucketStart(bucket: number): Uint8Array {
  return Uint8Array.of(bucket >> 2, (bucket & 3) << 6);
}
