/** One mounted client of a volume: what all of its parts share. */
import type { Id } from '../../base/ids.ts';
import type { MapSlots, NameNode } from '../../server/sealed/inode.ts';
import type { NodeCache } from '../../server/sealed/node-cache.ts';
import type { Sealing } from '../../server/sealed/sealing.ts';
import type { SegmentWriter } from '../../server/sealed/segment-writer.ts';
import type { UnitWriter } from '../../server/sealed/unit-writer.ts';
import type { ClientState } from '../state/client-state.ts';
import type { Marks } from '../state/marks.ts';
import type { OpenFiles } from './open-files.ts';
import type { ReadBudget } from './read-budget.ts';
import type { VolumeSettings } from './volume-settings.ts';
import type { WriteTimes } from './write-times.ts';

/** What commits ask of the volume's history. */
export interface HistoryCheck {
  /** Call it before a commit is put. Throws EFORK or EROLLBACK if one is known. */
  beforeCommit(): void;
  /** Call it before a commit is acknowledged. Rejects with EFORK or EROLLBACK if one is known. */
  afterCommit(): Promise<void>;
}

export interface Session {
  readonly id: Id;
  readonly settings: VolumeSettings;
  readonly sealing: Sealing;
  readonly state: ClientState;
  /** The marks in `state`, kept here because they are used often. */
  readonly marks: Marks;
  readonly history: HistoryCheck;
  readonly openFiles: OpenFiles;
  /** Units, and what a commit needs that waits for them. */
  readonly dataSegments: SegmentWriter;
  /** Leaves and map pages of commits whose units are durable already. */
  readonly nodeSegments: SegmentWriter;
  readonly units: UnitWriter;
  /** Nodes of name trees that were read or written not long ago. */
  readonly nameNodes: NodeCache<NameNode>;
  /** Pages of extent maps, in the same way. */
  readonly mapNodes: NodeCache<MapSlots>;
  readonly readBudget: ReadBudget;
  /** What this session has written, and when. */
  readonly writes: WriteTimes;
  readonly nowMs: () => number;
  /** For so long what was read of an inode is served without asking again. */
  readonly freshMs: number;
  /** How long gc leaves alone what nothing refers to. */
  readonly graceMs: number;
}

/** Waits until segments of this session are in the store. Rejects with what an upload failed with. */
export async function makeDurable(session: Session, segments: Iterable<Id>): Promise<void> {
  const ids = [...segments];
  for (const writer of [session.dataSegments, session.nodeSegments]) {
    for (const id of ids) writer.closeIfOpen(id);
  }
  await Promise.all(
    [session.dataSegments, session.nodeSegments].flatMap(writer => ids.map(id => writer.durable(id))),
  );
}

/** The time as inodes keep it. */
export function nowNs({ nowMs }: Pick<Session, 'nowMs'>): bigint {
  return BigInt(Math.trunc(nowMs())) * 1_000_000n;
}
