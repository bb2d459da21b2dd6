/**
 * Which record each unit of a file is, as this client sees the file: the changes that no commit has published
 * yet, in layers, over the version that the server has.
 *
 * A layer holds the changes of one group: receipts of the units that were written (undefined: a hole), and
 * what became of the size. Look-ups go from the newest layer down. A commit publishes the oldest layer; then
 * its receipts are the committed ones. A commit that fails changes nothing here.
 *
 * Invariants
 *   1. A unit that begins at or beyond a layer's `cutBytes` never comes from below that layer: a truncate has
 *      removed it, even if the file has grown since.
 *   2. No layer holds a receipt of a unit that a later truncate of its own group has removed.
 *   3. What is known of the committed version is of `committed.version`, and of nothing older.
 *
 * A unit that a truncate has cut in two is not the business of layers: its region stays dirty, with zeros
 * from the cut on, until a record without the removed bytes is placed. See `regions.ts`.
 */
import { NetsealError } from '../../base/errors.ts';
import type { CommitSub, FileState, Receipt } from '../server.ts';

/** The changes of one group. */
export class Layer {
  #receipts = new Map<number, Receipt | undefined>();
  /**
   * Receipts that newer records have replaced, oldest first. Kept as long as the newer records may be lost.
   */
  readonly #replaced = new Map<number, (Receipt | undefined)[]>();
  /** True when a commit reads the map of receipts: it must be copied before it is changed. */
  #isShared = false;
  #cutBytes = Number.POSITIVE_INFINITY;
  #isSizeSet = false;
  #endBytes = 0;

  get receipts(): ReadonlyMap<number, Receipt | undefined> {
    return this.#receipts;
  }

  /** The lowest size that a truncate of this group has set; infinity when there was none. */
  get cutBytes(): number {
    return this.#cutBytes;
  }

  /** Whether a truncate of this group has set the size, so that it does not depend on what lies below. */
  get isSizeSet(): boolean {
    return this.#isSizeSet;
  }

  /** True when committing this layer would change nothing. */
  get isEmpty(): boolean {
    return this.#receipts.size === 0 && !this.#isSizeSet && this.#endBytes === 0;
  }

  /** Returns the size of the file with this layer over a file of `belowBytes`. */
  sizeOn(belowBytes: number): number {
    return this.#isSizeSet ? this.#endBytes : Math.max(belowBytes, this.#endBytes);
  }

  /** Notes bytes written up to `toBytes`: the file is at least as long. */
  wrote(toBytes: number): void {
    if (toBytes > this.#endBytes) this.#endBytes = toBytes;
  }

  /** Notes a truncate to `sizeBytes`, in either direction. Drops the receipts that it removes. */
  truncated(sizeBytes: number, unitSizeBytes: number): void {
    const isShorter = sizeBytes < this.#endBytes;
    this.#isSizeSet = true;
    this.#endBytes = sizeBytes;
    this.#cutBytes = Math.min(this.#cutBytes, sizeBytes);
    // All receipts are of units that begin before the end.
    if (!isShorter) return;
    this.#unshare();
    for (const unit of this.#receipts.keys()) {
      if (unit * unitSizeBytes < sizeBytes) continue;
      this.#receipts.delete(unit);
      this.#replaced.delete(unit);
    }
  }

  /**
   * Enters a unit's new record; undefined makes it a hole. What it replaces is kept until {@link confirm}.
   */
  place(unit: number, receipt: Receipt | undefined): void {
    if (this.#receipts.has(unit)) this.#olderThan(unit).push(this.#receipts.get(unit));
    this.#unshare();
    this.#receipts.set(unit, receipt);
  }

  /** Notes that a unit's record is durable: those that it has replaced are not needed any more. */
  confirm(unit: number, receipt: Receipt | undefined): void {
    if (this.#receipts.get(unit) === receipt) this.#replaced.delete(unit);
    const older = this.#replaced.get(unit);
    older?.splice(0, Math.max(0, older.indexOf(receipt)));
  }

  /** Takes a unit's record out again, because it was lost. Then the unit is what it was before. */
  remove(unit: number, receipt: Receipt): void {
    const older = this.#replaced.get(unit) ?? [];
    if (this.#receipts.get(unit) === receipt) {
      this.#unshare();
      if (older.length === 0) this.#receipts.delete(unit);
      else this.#receipts.set(unit, older.pop());
    } else {
      const at = older.indexOf(receipt);
      if (at !== -1) older.splice(at, 1);
    }
    if (older.length === 0) this.#replaced.delete(unit);
  }

  /** Returns the receipts as they are now. The map will not change. */
  share(): ReadonlyMap<number, Receipt | undefined> {
    this.#isShared = true;
    return this.#receipts;
  }

  /** Takes the changes of `below` into this layer, under its own. `below` is of no use afterwards. */
  takeOver(below: Layer, unitSizeBytes: number): void {
    this.#unshare();
    for (const [unit, receipt] of below.#receipts) {
      if (unit * unitSizeBytes >= this.#cutBytes) continue;
      const older = below.#replaced.get(unit) ?? [];
      if (this.#receipts.has(unit)) this.#olderThan(unit).unshift(...older, receipt);
      else {
        this.#receipts.set(unit, receipt);
        if (older.length > 0) this.#replaced.set(unit, older);
      }
    }
    this.#cutBytes = Math.min(this.#cutBytes, below.#cutBytes);
    if (this.#isSizeSet) return;
    this.#isSizeSet = below.#isSizeSet;
    this.#endBytes = Math.max(this.#endBytes, below.#endBytes);
  }

  #olderThan(unit: number): (Receipt | undefined)[] {
    const known = this.#replaced.get(unit);
    if (known !== undefined) return known;
    const older: (Receipt | undefined)[] = [];
    this.#replaced.set(unit, older);
    return older;
  }

  #unshare(): void {
    if (!this.#isShared) return;
    this.#receipts = new Map(this.#receipts);
    this.#isShared = false;
  }
}

/** What a unit is: a record, a hole, or (`unknown`) something that the server must be asked about. */
export type Found = Receipt | 'hole' | 'unknown';

/** The layers of one open file. */
export class Layers {
  readonly #unitSizeBytes: number;
  /** From the oldest to the newest. */
  readonly #layers: Layer[] = [];
  /** Committed receipts by unit. When there are too many, a quarter goes, the oldest ones. */
  readonly #known = new Map<number, Receipt | undefined>();
  readonly #knownMax: number;
  #committed: FileState;

  /** @param knownMax how many committed receipts to remember. */
  constructor(unitSizeBytes: number, committed: FileState, knownMax: number) {
    this.#unitSizeBytes = unitSizeBytes;
    this.#committed = committed;
    this.#knownMax = knownMax;
  }

  /** The file as the server has it, without any layer. */
  get committed(): FileState {
    return this.#committed;
  }

  /** The size with all layers. */
  get sizeBytes(): number {
    return this.sizeUpTo(this.#layers.at(-1));
  }

  /** Returns the size with this layer and those below it, or with none. */
  sizeUpTo(last: Layer | undefined): number {
    let { sizeBytes } = this.#committed;
    if (last === undefined) return sizeBytes;
    for (const layer of this.#layers) {
      sizeBytes = layer.sizeOn(sizeBytes);
      if (layer === last) break;
    }
    return sizeBytes;
  }

  /** The number of receipts in layers. */
  get pendingCount(): number {
    let count = 0;
    for (const layer of this.#layers) count += layer.receipts.size;
    return count;
  }

  /** The bytes of the records of these receipts. */
  get pendingBytes(): number {
    let totalBytes = 0;
    for (const layer of this.#layers)
      for (const receipt of layer.receipts.values()) totalBytes += receipt?.lengthBytes ?? 0;
    return totalBytes;
  }

  /** The committed receipts that are remembered. */
  get knownCount(): number {
    return this.#known.size;
  }

  /** Begins a layer above all others. */
  begin(): Layer {
    const layer = new Layer();
    this.#layers.push(layer);
    return layer;
  }

  /** Returns what the unit is, with all layers. */
  find(unit: number): Found {
    const startBytes = unit * this.#unitSizeBytes;
    for (let index = this.#layers.length - 1; index >= 0; index -= 1) {
      const layer = this.#layers[index];
      if (layer === undefined) break;
      if (layer.receipts.has(unit)) return layer.receipts.get(unit) ?? 'hole';
      if (startBytes >= layer.cutBytes) return 'hole';
    }
    const { sizeBytes, zeroPointBytes = sizeBytes } = this.#committed;
    if (startBytes >= zeroPointBytes) return 'hole';
    if (!this.#known.has(unit)) return 'unknown';
    return this.#known.get(unit) ?? 'hole';
  }

  /** True when the unit is now the record with this tag. Pages must be filled only from such a record. */
  isCurrent(unit: number, tag: Uint8Array): boolean {
    const found = this.find(unit);
    return found !== 'hole' && found !== 'unknown' && Buffer.compare(found.tag, tag) === 0;
  }

  /**
   * Notes what the server said of the units from `fromUnit` on. Does nothing when it spoke of another version
   * than the committed one.
   */
  learn(version: string, fromUnit: number, receipts: readonly (Receipt | undefined)[]): void {
    if (version !== this.#committed.version) return;
    for (const [index, receipt] of receipts.entries()) this.#remember(fromUnit + index, receipt);
  }

  /** Forgets what the server said of the unit: its record is not where the receipt says. */
  forget(unit: number): void {
    this.#known.delete(unit);
  }

  /** Merges `layer` into the one above it. EBUG when there is none above. */
  fold(layer: Layer): void {
    const index = this.#layers.indexOf(layer);
    const above = this.#layers[index + 1];
    if (index === -1 || above === undefined) throw new NetsealError('EBUG', 'no layer to fold into');
    above.takeOver(layer, this.#unitSizeBytes);
    this.#layers.splice(index, 1);
  }

  /**
   * Returns what a commit of the oldest layer says. It will not change, whatever becomes of the layer. EBUG
   * when `layer` is not the oldest.
   */
  toCommit(layer: Layer): Pick<CommitSub, 'receipts' | 'sizeBytes' | 'cutBytes' | 'ifVersion'> {
    this.#requireOldest(layer);
    const { sizeBytes, version } = this.#committed;
    return {
      receipts: layer.share(),
      sizeBytes: layer.sizeOn(sizeBytes),
      cutBytes: Math.min(layer.cutBytes, sizeBytes),
      ifVersion: version,
    };
  }

  /** A commit of the oldest layer has succeeded: its receipts are the committed ones. */
  committedLayer(layer: Layer, state: FileState): void {
    this.#requireOldest(layer);
    this.#layers.shift();
    this.#committed = state;
    for (const unit of this.#known.keys()) {
      if (unit * this.#unitSizeBytes >= layer.cutBytes) this.#known.delete(unit);
    }
    let skip = layer.receipts.size - this.#knownMax;
    for (const [unit, receipt] of layer.receipts) {
      // There may be more receipts than are remembered. The first ones would be pushed out at once, so they
      // are only forgotten.
      if (skip > 0) this.#known.delete(unit);
      else this.#remember(unit, receipt);
      skip -= 1;
    }
  }

  /**
   * Puts all layers on another committed version. Whether they may be is the caller's decision.
   *
   * @param changed the units that differ between the two versions; undefined when that is not known.
   */
  rebase(state: FileState, changed?: Iterable<number>): void {
    this.#committed = state;
    if (changed === undefined) this.#known.clear();
    else for (const unit of changed) this.#known.delete(unit);
  }

  /**
   * True when a layer says what the unit is: what another client writes to it contradicts this file's
   * changes.
   */
  hasChanged(unit: number): boolean {
    const endBytes = (unit + 1) * this.#unitSizeBytes;
    return this.#layers.some(layer => layer.receipts.has(unit) || endBytes > layer.cutBytes);
  }

  /** True when a truncate has set the size, so that another client's size contradicts this file's changes. */
  get isSizeSet(): boolean {
    return this.#layers.some(layer => layer.isSizeSet);
  }

  /** Drops `layer`, and with it its changes. */
  discard(layer: Layer): void {
    const index = this.#layers.indexOf(layer);
    if (index === -1) throw new NetsealError('EBUG', 'not a layer of this file');
    this.#layers.splice(index, 1);
  }

  /** Throws EBUG when an invariant does not hold. `layers` are those that there should be, oldest first. */
  assertInvariants(layers: readonly Layer[]): void {
    const isSame =
      layers.length === this.#layers.length && layers.every((layer, at) => layer === this.#layers[at]);
    if (!isSame) throw new NetsealError('EBUG', 'layers and groups differ');
    if (this.#known.size > this.#knownMax) throw new NetsealError('EBUG', 'too many receipts are remembered');
  }

  #remember(unit: number, receipt: Receipt | undefined): void {
    this.#known.delete(unit);
    this.#known.set(unit, receipt);
    if (this.#known.size <= this.#knownMax) return;
    // Many at a time: the first key of a map is found slowly when those before it were just deleted.
    let left = Math.ceil(this.#knownMax / 4);
    for (const oldest of this.#known.keys()) {
      this.#known.delete(oldest);
      left -= 1;
      if (left === 0) return;
    }
  }

  #requireOldest(layer: Layer): void {
    if (this.#layers[0] !== layer) throw new NetsealError('EBUG', 'only the oldest layer can be committed');
  }
}
