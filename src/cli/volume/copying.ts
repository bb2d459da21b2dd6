/**
 * The frame of `netseal put` and `netseal get`: opens the volume, shows progress, and reports what was
 * copied.
 */
import type { Amount } from '../../transfer/measure.ts';
import { Tally } from '../../transfer/tally.ts';
import { loadTransfer } from '../lib/lazy.ts';
import { keepYoungHeapSmall } from '../lib/young-heap.ts';
import type { CopyOptions } from './copy-options.ts';
import { CopyProgress } from './copy-progress.ts';
import { deedLine, type ResumedFile, reportCopy, resumedLine } from './copy-report.ts';
import { onPaths, type PathFrame } from './each-path.ts';
import type { VolumePath } from './paths.ts';

/** What a copy works with once the volume is open. */
export interface CopyFrame extends PathFrame {
  readonly transfer: Awaited<ReturnType<typeof loadTransfer>>;
  /** Removes the progress from the terminal, before the user is asked something. */
  readonly pauseProgress: () => void;
}

export interface CopyWork {
  /** Measures all that there is to copy, for progress. Called only if progress is shown. */
  measure(frame: CopyFrame, signal: AbortSignal): Promise<Amount>;
  /** Copies. `tally` counts what was copied, and keeps the failures. */
  copy(frame: CopyFrame, tally: Tally): Promise<void>;
}

/**
 * Opens the volume of `paths` and runs `work`. Then reports what was copied, also after a failure or an
 * interruption.
 *
 * @param did the past tense of the command, for the report.
 */
export function copyFrame(
  paths: readonly VolumePath[],
  options: CopyOptions & { readonly dryRun?: boolean },
  { label, did }: { readonly label: string; readonly did: string },
  work: CopyWork,
): Promise<void> {
  let loading: ReturnType<typeof loadTransfer> | undefined;
  const copying = onPaths(paths, options, async pathFrame => {
    const transfer = await (loading ?? loadTransfer());
    keepYoungHeapSmall();
    const frame = { ...pathFrame, transfer, pauseProgress: () => progress.pause() };
    const { json = false, quiet = false, verbose = false, dryRun = false } = options;
    const isTalking = !json && !quiet;
    const resumed: ResumedFile[] = [];
    const progress = new CopyProgress({
      label,
      isShown: isTalking && !verbose && !dryRun,
      isTerminal: process.stderr.isTTY === true,
      measure: signal => work.measure(frame, AbortSignal.any([signal, frame.signal])),
    });
    const tally = new Tally({
      onProgress: progress.report,
      onDeed: (path, deed) => {
        if (isTalking && (verbose || dryRun)) process.stdout.write(deedLine(path, deed, dryRun));
      },
      onResumed: (path, doneBytes, sizeBytes) => {
        resumed.push({ path, doneBytes, sizeBytes });
        if (!isTalking) return;
        progress.pause();
        process.stderr.write(resumedLine({ path, doneBytes, sizeBytes }));
      },
    });
    const startedMs = performance.now();
    const end = (error: unknown): void => {
      progress.stop();
      const elapsedMs = performance.now() - startedMs;
      const { missing } = transfer.nativeReport();
      reportCopy(tally, resumed, { did, error, elapsedMs, missing }, options);
    };
    try {
      await work.copy(frame, tally);
    } catch (error) {
      end(error);
      throw error;
    }
    end(undefined);
  });
  // Loaded while the volume is being opened, but after what starts the threads.
  loading = loadTransfer();
  loading.catch(() => undefined);
  return copying;
}
