/** What everything in the sealed layout works with: a store, a volume's keys, and those who seal and open. */
import type { KeyHandle } from '../../pipeline/key-table.ts';
import type { Pipeline } from '../../pipeline/pipeline.ts';
import type { CodecSetting } from '../../unit/codec.ts';
import type { SuiteName } from '../../unit/record-format.ts';
import type { ObjectStore } from '../store.ts';
import type { ControlSealer } from './control.ts';

export interface Sealing {
  readonly store: ObjectStore;
  /** For units. */
  readonly pipeline: Pipeline;
  readonly keys: KeyHandle;
  /** For all other records. */
  readonly control: ControlSealer;
  readonly suite: SuiteName;
  readonly codec: CodecSetting;
  /** What units are padded to. */
  readonly blockSizeBytes: number;
}
