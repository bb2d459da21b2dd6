/**
 * A progress bar with rate and remaining time. It is only for people: without a terminal, nothing is written.
 */
import cliProgress from 'cli-progress';
import { formatCount, formatDuration, formatThroughput } from './sizes.ts';

export interface ProgressSettings {
  /** The work that goes on, in a word or two. */
  readonly label: string;
  /** The thing that is counted: `bytes`, or a noun such as `file`. */
  readonly noun: string;
  /** Returns the text behind the percentage, in at most so many columns. Default: {@link describePace}. */
  readonly describe?: (elapsedMs: number, columns: number) => string;
  /** Default: standard error, so that standard output stays clean. */
  readonly stream?: NodeJS.WriteStream;
}

export interface Progress {
  /** Shows that `done` of `total` are done. Cheap: draws at most ten times a second. */
  update(done: number, total: number): void;
  /** Removes the bar. Call it before writing anything else to the terminal; calling it again does nothing. */
  stop(): void;
}

const BAR_WIDTH = 24;
const COLUMNS_DEFAULT = 80;
/** For how long no rate is shown, as it would be a guess. */
const RATE_AFTER_MS = 500;

export function startProgress(settings: ProgressSettings): Progress {
  const stream = settings.stream ?? process.stderr;
  if (!stream.isTTY) return { update: () => undefined, stop: () => undefined };
  const startedMs = performance.now();
  const bar = new cliProgress.SingleBar({
    stream,
    clearOnComplete: true,
    hideCursor: true,
    barsize: BAR_WIDTH,
    // A program that reads our output may write to the same terminal. Its lines must wrap as ever.
    linewrap: null,
    format: (options, params) => {
      const filled = Math.round(params.progress * (options.barsize ?? BAR_WIDTH));
      const drawn = `${'█'.repeat(filled)}${'░'.repeat(BAR_WIDTH - filled)}`;
      const percent = `${Math.floor(params.progress * 100)}%`.padStart(4);
      const elapsedMs = performance.now() - startedMs;
      const front = `${settings.label} ${drawn} ${percent}  `;
      const rest =
        settings.describe?.(elapsedMs, (stream.columns || COLUMNS_DEFAULT) - front.length - 1) ??
        describePace(settings.noun, params.value, params.total, elapsedMs);
      return `${front}${rest}`;
    },
  });
  let isStarted = false;
  return {
    update: (done, total) => {
      if (!isStarted) bar.start(total, done);
      isStarted = true;
      bar.setTotal(total);
      bar.update(done);
    },
    stop: () => {
      if (isStarted) bar.stop();
      isStarted = false;
    },
  };
}

/** Returns how far and how fast work is: `12 of 40 files, 3/s, 9 s left`, `120 MB/s, 2 min left`. */
export function describePace(noun: string, done: number, total: number, elapsedMs: number): string {
  const isBytes = noun === 'bytes';
  const counted = isBytes ? [] : [`${done.toLocaleString('en-US')} of ${formatCount(total, noun)}`];
  return [...counted, ...paceOf(noun, done, total, elapsedMs)].join(', ');
}

/**
 * Returns the rate and the time that is left; nothing while they would be a guess.
 *
 * @param total undefined when it is not known: then there is no time left.
 */
export function paceOf(noun: string, done: number, total: number | undefined, elapsedMs: number): string[] {
  if (elapsedMs < RATE_AFTER_MS || done === 0) return [];
  const perSecond = (done / elapsedMs) * 1000;
  const rate =
    noun === 'bytes' ? formatThroughput(perSecond) : `${perSecond.toFixed(perSecond < 10 ? 1 : 0)}/s`;
  if (total === undefined) return [rate];
  const leftMs = (Math.max(0, total - done) / done) * elapsedMs;
  return [rate, `${formatDuration(Math.ceil(leftMs / 1000) * 1000)} left`];
}
