/** One opening of a volume by one client: the parts and settings that everything in it shares. */
import type { Id } from '../../base/ids.ts';
import type { CacheVolume } from '../../cache/cache-volume.ts';
import type { MapSlots, NameNode } from '../../server/sealed/inode.ts';
import type { NodeCache } from '../../server/sealed/node-cache.ts';
import type { Sealing } from '../../server/sealed/sealing.ts';
import type { SegmentWriter } from '../../server/sealed/segment-writer.ts';
import type { UnitWriter } from '../../server/sealed/unit-writer.ts';
import type { ClientState } from '../state/client-state.ts';
import type { Marks } from '../state/marks.ts';
import type { CacheBypass } from './cache-bypass.ts';
import type { FreshObjects } from './fresh-objects.ts';
import type { OpenFiles } from './open-files.ts';
import type { ReadBudget } from './read-budget.ts';
import type { VolumeSettings } from './volume-settings.ts';
import type { WriteTimes } from './write-times.ts';

/** What reads and commits ask of the volume's history. */
export interface HistoryCheck {
  /**
   * Resolves when the heads have been merged, in the first session of a client that never did so; at once in
   * any other. Until then no inode is served. Never rejects.
   */
  beforeServing(): Promise<void>;
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
  /** Segments for units, and for the nodes of commits that wait for these units anyway. */
  readonly dataSegments: SegmentWriter;
  /** Segments for leaves and map pages of commits whose units are durable already. */
  readonly nodeSegments: SegmentWriter;
  readonly units: UnitWriter;
  /** Nodes of name trees that were read or written recently. */
  readonly nameNodes: NodeCache<NameNode>;
  /** Pages of extent maps that were read or written recently. */
  readonly mapNodes: NodeCache<MapSlots>;
  /** Where sealed records are kept on this machine; undefined without a cache. */
  readonly cache: CacheVolume | undefined;
  readonly cacheBypass: CacheBypass | undefined;
  readonly readBudget: ReadBudget;
  /** Inode objects that were put before anything refers to them. */
  readonly fresh: FreshObjects;
  /** When this session wrote which object. */
  readonly writes: WriteTimes;
  readonly nowMs: () => number;
  /** How long an inode that was read is used without asking the store again. */
  readonly freshMs: number;
  /** How long gc keeps objects that nothing refers to. */
  readonly graceMs: number;
  /** Throws ECLOSED when the volume has been closed. */
  requireOpen(): void;
}

/**
 * Closes segments of this session and waits until they are in the store. Rejects with what an upload failed
 * with.
 */
export async function makeDurable(session: Session, segments: Iterable<Id>): Promise<void> {
  const ids = [...segments];
  for (const writer of [session.dataSegments, session.nodeSegments]) {
    for (const id of ids) writer.closeIfOpen(id);
  }
  await Promise.all(
    [session.dataSegments, session.nodeSegments].flatMap(writer => ids.map(id => writer.durable(id))),
  );
}

/**
 * Returns the present time as inodes keep it: nanoseconds since 1970, with the precision of the session's
 * clock.
 */
export function nowNs({ nowMs }: Pick<Session, 'nowMs'>): bigint {
  return BigInt(Math.trunc(nowMs())) * 1_000_000n;
}
