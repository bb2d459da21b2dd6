/** The frame of a command: it can be stopped by Ctrl-C, and it writes its result to standard output. */
import { withInterrupt } from './interrupt.ts';
import { writeOut } from './write-out.ts';

export interface Frame {
  /** Aborts at Ctrl-C. */
  readonly signal: AbortSignal;
  /**
   * Writes to standard output, and waits until it has taken the bytes. Rejects once the signal has aborted.
   */
  print(output: Uint8Array | string): Promise<void>;
  /** Writes the result of a change that has been made: this is printed even after Ctrl-C. */
  report(text: string): void;
}

/** Runs `work` in a frame. After Ctrl-C it rejects with an AbortError, which becomes exit code 130. */
export function inFrame<Result>(work: (frame: Frame) => Promise<Result>): Promise<Result> {
  return withInterrupt(signal =>
    work({
      signal,
      print: output => writeOut(output, signal),
      report: text => {
        process.stdout.write(text);
      },
    }),
  );
}
