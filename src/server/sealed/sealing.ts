/**
 * The parts that everything in the sealed layout works with: the store, the volume's keys, and what seals and
 * opens.
 */
import type { KeyHandle } from '../../pipeline/key-table.ts';
import type { Pipeline } from '../../pipeline/pipeline.ts';
import type { CodecSetting } from '../../unit/codec.ts';
import type { Padding } from '../../unit/padding.ts';
import type { SuiteName } from '../../unit/record-format.ts';
import type { ObjectStore } from '../store.ts';
import type { ControlSealer } from './control.ts';
import type { ContentRecords, NodeRecords } from './kept-records.ts';
import type { OpenedPacks } from './opened-packs.ts';

export interface Sealing {
  readonly store: ObjectStore;
  /** Seals and opens units. */
  readonly pipeline: Pipeline;
  readonly keys: KeyHandle;
  /** Seals and opens all other records. */
  readonly control: ControlSealer;
  readonly suite: SuiteName;
  readonly codec: CodecSetting;
  /** Of units; control records have their own. */
  readonly padding: Padding;
  /** The packs that were opened lately. */
  readonly packs: OpenedPacks;
  /** Nodes that are kept on this machine; undefined when none are. */
  readonly nodes?: NodeRecords | undefined;
  /** Units and packs that are kept on this machine; undefined when none are. */
  readonly content?: ContentRecords | undefined;
}
