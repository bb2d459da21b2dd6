/**
 * The groups of one open file: what is committed together.
 *
 *   open ──close──▶ closed ──committed──▶ committed
 *                      └──foldFrom──▶ folded (its changes are the open group's)
 *   open, closed ──discardAll──▶ discarded
 *
 * Invariants
 *   1. Exactly one group is open: the newest. Closed ones are committed in order, each as a whole.
 *   2. A group's writers, regions and flushes name it as their group.
 *   3. Layers are the groups' layers, in the same order.
 *   4. A group that is placed, or has ended, has no waiters left.
 */
import { NetsealError } from '../../base/errors.ts';
import type { FileState } from '../server.ts';
import type { Layers } from './layers.ts';
import type { Group, Writer } from './region.ts';

export class Groups {
  readonly #layers: Layers;
  /** Oldest first; the last is open. */
  readonly #groups: Group[] = [];
  #nextId = 1;

  constructor(layers: Layers) {
    this.#layers = layers;
    this.#begin();
  }

  /** Oldest first; the last is open. */
  get all(): readonly Group[] {
    return this.#groups;
  }

  get open(): Group {
    const open = this.#groups.at(-1);
    if (open === undefined) throw new NetsealError('EBUG', 'no group is open');
    return open;
  }

  get isOnlyOpen(): boolean {
    return this.#groups.length === 1;
  }

  /**
   * Closes the open group and begins the next. Returns undefined, and closes nothing, when it is empty and
   * `evenEmpty` is false.
   */
  close(evenEmpty: boolean): Group | undefined {
    const group = this.open;
    if (isEmpty(group) && !evenEmpty) return undefined;
    group.state = 'closed';
    this.#begin();
    return group;
  }

  /** Notes that the oldest group was committed: its layer is part of the committed version now. */
  committed(group: Group, state: FileState): void {
    if (!isPlaced(group)) throw new NetsealError('EBUG', 'committed before it was placed');
    this.#layers.committedLayer(group.layer, state);
    this.#groups.shift();
    group.state = 'committed';
  }

  /**
   * Moves everything of `first` and all later closed groups into the open one, and tells those who wait for
   * them. Does nothing when `first` is open, or has ended.
   */
  foldFrom(first: Group): void {
    const { open } = this;
    const at = this.#groups.indexOf(first);
    if (at === -1 || first === open) return;
    for (const group of this.#groups.splice(at, this.#groups.length - 1 - at)) {
      this.#layers.fold(group.layer);
      moveInto(open, group);
    }
  }

  /** Drops all groups with their layers, and begins a new one. */
  discardAll(): void {
    for (const group of this.#groups) {
      this.#layers.discard(group.layer);
      group.state = 'discarded';
      tell(group);
    }
    this.#groups.length = 0;
    this.#begin();
  }

  /** Throws EBUG when an invariant does not hold. */
  assertInvariants(): void {
    this.#layers.assertInvariants(this.#groups.map(({ layer }) => layer));
    for (const group of this.#groups) {
      if ((group.state === 'open') !== (group === this.open)) fail(1, `group ${group.id} is ${group.state}`);
      const unplaced = [...group.flushes].filter(({ state }) => state === 'copied').length;
      if (unplaced !== group.unplacedCount) fail(2, `${unplaced} unplaced, not ${group.unplacedCount}`);
      for (const member of [...group.dirty, ...group.flushes, ...group.writers]) {
        if (member.group !== group) fail(2, `a member of group ${group.id} has another`);
      }
      if (group.waiters.size > 0 && isPlaced(group)) fail(4, `group ${group.id}`);
    }
  }

  #begin(): void {
    this.#groups.push({
      id: this.#nextId,
      layer: this.#layers.begin(),
      writers: new Set(),
      dirty: new Set(),
      flushes: new Set(),
      unplacedCount: 0,
      state: 'open',
      waiters: new Set(),
    });
    this.#nextId += 1;
  }
}

/** True when committing the group would change nothing, and nobody has begun to write to it. */
export function isEmpty({ layer, writers, dirty, flushes }: Group): boolean {
  if (!layer.isEmpty || dirty.size > 0 || flushes.size > 0) return false;
  for (const writer of writers) if (!hasNotBegun(writer)) return false;
  return true;
}

/** True when the writer has put no byte into pages yet. */
export function hasNotBegun({ fromBytes, dirtyToBytes }: Writer): boolean {
  return dirtyToBytes === fromBytes;
}

/** True when all of the group is placed and nobody writes to it. */
export function isPlaced({ writers, dirty, unplacedCount }: Group): boolean {
  return writers.size === 0 && dirty.size === 0 && unplacedCount === 0;
}

/** Resolves when the closed group is placed, or has ended in another way. */
export function whenPlaced(group: Group): Promise<void> {
  if (group.state !== 'closed' || isPlaced(group)) return Promise.resolve();
  const { promise, resolve } = Promise.withResolvers<void>();
  group.waiters.add(resolve);
  return promise;
}

/** Tells the waiters if the group is placed. Call it after every step that may have been the group's last. */
export function tellIfPlaced(group: Group): void {
  if (group.waiters.size > 0 && isPlaced(group)) tell(group);
}

function tell(group: Group): void {
  for (const waiter of group.waiters) waiter();
  group.waiters.clear();
}

function moveInto(open: Group, group: Group): void {
  for (const writer of group.writers) {
    writer.group = open;
    open.writers.add(writer);
  }
  for (const region of group.dirty) {
    region.group = open;
    open.dirty.add(region);
  }
  for (const flush of group.flushes) {
    flush.group = open;
    open.flushes.add(flush);
  }
  open.unplacedCount += group.unplacedCount;
  // Whoever still flushes the folded group must find nothing in it.
  group.writers.clear();
  group.dirty.clear();
  group.flushes.clear();
  group.unplacedCount = 0;
  group.state = 'folded';
  tell(group);
}

function fail(invariant: number, what: string): never {
  throw new NetsealError('EBUG', `groups, invariant ${invariant}: ${what}`);
}
