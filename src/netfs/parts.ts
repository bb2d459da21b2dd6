/** What the phases of one open file's I/O share. */
import type { Scheduler } from '../base/scheduler.ts';
import type { TurnClock } from '../base/turns.ts';
import type { Pipeline } from '../pipeline/pipeline.ts';
import type { FilePages, PageCache } from './pages/pages.ts';
import type { ErrorSequence } from './regions/errseq.ts';
import type { Regions } from './regions/regions.ts';
import type { FileForm, NetfsServer } from './server.ts';
import type { HeldBytes, StreamCounters, Streams } from './streams.ts';
import type { UnitCache } from './unit-cache.ts';

/** What all open files share. */
export interface NetfsParts {
  readonly pipeline: Pipeline;
  readonly pages: PageCache;
  readonly scheduler: Scheduler;
  /** For how long a file without changes is used without asking the server again, in ms. */
  readonly freshMs: number;
  /** What optional streams hold: of what was sealed, and of what was fetched. */
  readonly held: { readonly sealed: HeldBytes; readonly fetched: HeldBytes };
  readonly streamCounters: StreamCounters;
  /** Memory for the records of one file's changes. */
  readonly recordBytes: number;
  /** Measures for how long calls have been answered at once, without giving others their turn. */
  readonly turns: TurnClock;
}

/** What belongs to one file, whoever has opened it. */
export interface FileParts<Handle> {
  readonly netfs: NetfsParts;
  readonly key: Uint8Array;
  readonly server: NetfsServer<Handle>;
  readonly handle: Handle;
  readonly form: FileForm;
  readonly pages: FilePages;
  readonly regions: Regions;
  readonly errors: ErrorSequence;
  readonly cache: UnitCache | undefined;
  readonly streams: Streams;
}
