/** Reads pages while the thread that started this one writes to them, and says how often it could. */
import { parentPort, workerData } from 'node:worker_threads';
import { seededChance } from '../src/base/chance.ts';
import type { PageFileRef } from '../src/netfs/pages/file-slots.ts';
import { PageCopier } from '../src/netfs/pages/page-copier.ts';
import type { PageMemory } from '../src/netfs/pages/page-memory.ts';
import { PageReader, threadClock } from '../src/netfs/pages/page-reader.ts';

const GRANULE_BYTES = 4096;

export interface ReaderData {
  readonly memory: PageMemory;
  readonly ref: PageFileRef;
  /** The first word is set when the reads are over. */
  readonly control: Int32Array<SharedArrayBuffer>;
  readonly lengthBytes: number;
  readonly readCount: number;
  /** False: the last check is left out, and the reads end at the first torn one. */
  readonly isChecked: boolean;
}

export interface ReaderCounts {
  readonly hits: number;
  readonly torn: number;
  readonly seconds: number;
}

class UncheckedCopier extends PageCopier {
  override isRunUnchanged(): boolean {
    return true;
  }
}

function run({ memory, ref, control, lengthBytes, readCount, isChecked }: ReaderData): ReaderCounts {
  const copier = isChecked ? new PageCopier(memory) : new UncheckedCopier(memory);
  const reader = new PageReader(memory, threadClock(), copier);
  const chance = seededChance(1);
  const granules = lengthBytes / GRANULE_BYTES;
  const offsets = Float64Array.from(
    { length: 65_536 },
    () => Math.floor(chance() * granules) * GRANULE_BYTES,
  );
  const into = new Uint8Array(GRANULE_BYTES);
  const first = new Uint32Array(into.buffer);
  let hits = 0;
  let torn = 0;
  const startMs = performance.now();
  for (let read = 0; read < readCount && (isChecked || torn === 0); read += 1) {
    if (reader.read(ref, offsets[read & 0xffff] ?? 0, into) === undefined) continue;
    hits += 1;
    // A granule that was filled has another number in each sector, and 0 at the end.
    const stamp = first[1023] ?? 0;
    if (stamp === 0) continue;
    if (first[0] !== stamp || first[512] !== stamp || first[896] !== stamp) torn += 1;
  }
  const seconds = (performance.now() - startMs) / 1000;
  Atomics.store(control, 0, 1);
  return { hits, torn, seconds };
}

if (parentPort !== null) parentPort.postMessage(run(workerData as ReaderData));
