/**
 * Helps a writer whose file was compacted while it was open. The content that it commits still points into
 * the segments that compaction has emptied, and a gc may be about to delete those. So the commit names these
 * segments as ones that it refers to, and they are kept (see `keep-young.ts`).
 */
import { isNetsealError } from '../../base/errors.ts';
import type { Id } from '../../base/ids.ts';
import type { MapRoot, MapSlots } from '../../server/sealed/inode.ts';
import { PAGE_SLOTS } from '../../server/sealed/map-format.ts';
import { isSamePointer } from '../../server/sealed/pointer.ts';
import { UnitMap } from '../../server/sealed/unit-map.ts';
import type { Session } from './session.ts';

/** True when both roots hold the same pointers. */
export function isSameMap(left: MapRoot, right: MapRoot): boolean {
  return (
    left.depth === right.depth &&
    left.slots.length === right.slots.length &&
    left.slots.every(({ slot, pointer }, at) => {
      const other = right.slots[at];
      return other?.slot === slot && isSamePointer(pointer, other.pointer);
    })
  );
}

/**
 * Returns the segments that `map` points into and `current` does not. Rejects with what reading a page
 * throws.
 */
export async function segmentsLeft(
  session: Session,
  file: Id,
  map: MapRoot,
  current: MapRoot,
): Promise<Set<Id>> {
  const left = new Set<Id>();
  await eachSegment(session, file, map, segment => left.add(segment));
  await eachSegment(session, file, current, segment => left.delete(segment));
  return left;
}

async function eachSegment(
  session: Session,
  file: Id,
  { depth, slots }: MapRoot,
  see: (segment: Id) => void,
): Promise<void> {
  const map = new UnitMap(session.sealing, file, session.mapNodes);
  const visit = async (level: number, page: number, nodes: MapSlots): Promise<void> => {
    for (const { slot, pointer } of nodes) {
      see(pointer.segment);
      if (level === 0) continue;
      const child = page * PAGE_SLOTS + slot;
      const [content] = await map.pages([{ level: level - 1, page: child, pointer }]);
      if (isNetsealError(content)) throw content;
      await visit(level - 1, child, content ?? []);
    }
  };
  await visit(depth, 0, slots);
}
