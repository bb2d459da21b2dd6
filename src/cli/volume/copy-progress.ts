/**
 * Shows how far a copy is: on a terminal in one line that is drawn again and again, elsewhere in a new line
 * now and then.
 *
 *   putting ████░░░░  44%  12 of 40 files, 1.2 GB of 2.7 GB, 120 MB/s, 13 s left: photos/a.jpg
 */
import type { Name } from '../../base/name.ts';
import { showName } from '../../transfer/local-names.ts';
import type { Amount } from '../../transfer/measure.ts';
import type { Done } from '../../transfer/tally.ts';
import { type Progress, paceOf, startProgress } from '../lib/progress.ts';
import { formatCount, formatSize } from '../lib/sizes.ts';

/** The time between lines without a terminal, in the first minute. After that there is one line a minute. */
const FIRST_LINES_MS = 10_000;
const LATER_LINES_MS = 60_000;
const NOTHING: Done = { bytes: 0, files: 0, path: '' };

export interface CopyProgressSettings {
  /** The work that goes on, in a word. */
  readonly label: string;
  /** False to show nothing. */
  readonly isShown: boolean;
  /** Whether a terminal is drawn on. */
  readonly isTerminal: boolean;
  /** Measures all that there is to copy. It stops when the signal aborts. */
  readonly measure: (signal: AbortSignal) => Promise<Amount>;
}

export class CopyProgress {
  readonly #settings: CopyProgressSettings;
  readonly #bar: Progress | undefined;
  readonly #startedMs: number = performance.now();
  readonly #ending = new AbortController();
  #nextLineMs = FIRST_LINES_MS;
  #isMeasuring = false;
  #total: Amount | undefined;
  #done: Done = NOTHING;

  constructor(settings: CopyProgressSettings) {
    this.#settings = settings;
    if (!settings.isShown || !settings.isTerminal) return;
    this.#bar = startProgress({
      label: settings.label,
      noun: 'bytes',
      describe: (elapsedMs, columns) => this.#line(elapsedMs, columns),
    });
    this.#startMeasuring();
  }

  /** Takes note of how far the copy is, and shows it when it is time. */
  readonly report = (done: Done): void => {
    this.#done = done;
    if (!this.#settings.isShown) return;
    if (this.#bar !== undefined) this.#bar.update(done.bytes, this.#totalBytes());
    else this.#showLine();
  };

  /** Removes what is drawn on the terminal, so that a line can be written. The next report draws it again. */
  pause(): void {
    this.#bar?.stop();
  }

  /** Ends showing. */
  stop(): void {
    this.#ending.abort();
    this.#bar?.stop();
  }

  #showLine(): void {
    const elapsedMs = performance.now() - this.#startedMs;
    if (elapsedMs < this.#nextLineMs) return;
    this.#nextLineMs = elapsedMs + (elapsedMs < LATER_LINES_MS ? FIRST_LINES_MS : LATER_LINES_MS);
    process.stderr.write(
      `netseal: ${this.#settings.label} ${this.#line(elapsedMs, Number.POSITIVE_INFINITY)}\n`,
    );
    this.#startMeasuring();
  }

  /** Begins to measure. Without the amount, progress is told without a total. */
  #startMeasuring(): void {
    if (this.#isMeasuring) return;
    this.#isMeasuring = true;
    this.#settings.measure(this.#ending.signal).then(
      total => {
        this.#total = total;
      },
      () => undefined,
    );
  }

  #totalBytes(): number {
    return Math.max(this.#done.bytes, this.#total?.bytes ?? 0);
  }

  #line(elapsedMs: number, columns: number): string {
    const { bytes, files, path } = this.#done;
    const total = this.#total;
    const isKnown = total !== undefined && total.bytes >= bytes && total.files >= files;
    const counted = isKnown
      ? [
          `${files.toLocaleString('en-US')} of ${formatCount(total.files, 'file')}`,
          `${formatSize(bytes)} of ${formatSize(total.bytes)}`,
        ]
      : [formatCount(files, 'file'), formatSize(bytes)];
    const pace = paceOf('bytes', bytes, isKnown ? total.bytes : undefined, elapsedMs);
    const text = [...counted, ...pace].join(', ');
    return `${text}${shortened(path, columns - text.length - 2)}`;
  }
}

/** Returns the end of a path in so many columns, behind a colon; nothing when there is no room. */
function shortened(path: Name, columns: number): string {
  const shown = showName(path);
  if (shown === '' || columns < 8) return '';
  return shown.length <= columns ? `: ${shown}` : `: …${shown.slice(1 - columns)}`;
}
