/**
 * Asks for a passphrase on the terminal, without echo.
 *
 * While it asks, the terminal is in raw mode: all keys arrive as bytes, also those that otherwise send a
 * signal. So a passphrase may hold any bytes, and Ctrl-Z can restore the terminal before the process stops.
 */
import { isUtf8 } from 'node:buffer';
import { closeSync, openSync, writeSync } from 'node:fs';
import { ReadStream } from 'node:tty';
import { NetsealError, requireArgument } from '../../base/errors.ts';
import { LineEditor } from './line-editor.ts';

/** A SIGCONT that comes so soon after the prompt was shown again needs no further prompt. */
const SAME_CONTINUE_MS = 250;

export class PassphraseTerminal {
  readonly #input: ReadStream;
  readonly #outputFd: number;
  readonly #editor = new LineEditor();
  #question:
    | { readonly prompt: string; resolve(line: Buffer): void; reject(reason: unknown): void }
    | undefined;
  #promptedMs = 0;

  /**
   * Opens the terminal itself: standard input and output may carry data. EINVAL when there is none.
   *
   * @param otherWays what to use instead, for the message.
   */
  static open(otherWays: string): PassphraseTerminal {
    try {
      return new PassphraseTerminal(new ReadStream(openSync('/dev/tty', 'r')), openSync('/dev/tty', 'w'));
    } catch (cause) {
      throw new NetsealError('EINVAL', `no passphrase: there is no terminal to ask on; use ${otherWays}`, {
        cause,
      });
    }
  }

  private constructor(input: ReadStream, outputFd: number) {
    this.#input = input;
    this.#outputFd = outputFd;
    input.on('data', (bytes: Buffer) => {
      this.#editor.add(bytes);
      this.#takeKeys();
    });
    input.on('end', this.#interrupt);
    input.on('error', this.#interrupt);
    process.on('SIGTSTP', this.#suspend);
    process.on('SIGCONT', this.#continue);
    input.setRawMode(true);
  }

  /**
   * Asks once. EINVAL when the answer is not UTF-8. Rejects with an AbortError after Ctrl-C, Ctrl-D, a
   * hang-up or the signal.
   */
  async ask(prompt: string, signal?: AbortSignal): Promise<string> {
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
    this.#question = { prompt, resolve, reject };
    signal?.addEventListener('abort', this.#interrupt);
    try {
      signal?.throwIfAborted();
      this.#show();
      this.#takeKeys();
      const line = await promise;
      requireArgument(
        isUtf8(line),
        'the passphrase is not UTF-8: set the terminal to UTF-8, or use a key file',
      );
      return line.toString('utf8');
    } finally {
      signal?.removeEventListener('abort', this.#interrupt);
      this.#question = undefined;
      this.#write('\n');
    }
  }

  /** Restores the terminal. */
  close(): void {
    process.off('SIGTSTP', this.#suspend);
    process.off('SIGCONT', this.#continue);
    this.#input.setRawMode(false);
    this.#input.destroy();
    closeSync(this.#outputFd);
  }

  #takeKeys(): void {
    if (this.#question === undefined) return;
    const event = this.#editor.next();
    if (event === undefined) return;
    if (event.type === 'line') this.#question.resolve(event.bytes);
    else if (event.type === 'interrupt') this.#interrupt();
    else {
      // Ctrl-Z stops all processes of the job, as it does when the terminal handles it.
      this.#stop(0);
      this.#takeKeys();
    }
  }

  readonly #interrupt = (): void => {
    this.#question?.reject(new DOMException('interrupted at the passphrase prompt', 'AbortError'));
  };

  /** Handles a SIGTSTP that another process has sent. */
  readonly #suspend = (): void => this.#stop(process.pid);

  /** Restores the terminal and stops. Returns when the process goes on. */
  #stop(pid: number): void {
    this.#input.setRawMode(false);
    process.off('SIGTSTP', this.#suspend);
    process.kill(pid, 'SIGTSTP');
    // The process stops here, unless no shell has started it: then nothing could continue it, and the system
    // does not stop it.
    process.on('SIGTSTP', this.#suspend);
    this.#again();
  }

  /** Handles SIGCONT: the process was stopped, and the terminal may have been changed meanwhile. */
  readonly #continue = (): void => {
    if (performance.now() - this.#promptedMs > SAME_CONTINUE_MS) this.#again();
    else this.#setRaw();
  };

  #again(): void {
    this.#setRaw();
    this.#editor.clear();
    if (this.#question === undefined) return;
    this.#write('\n');
    this.#show();
  }

  #setRaw(): void {
    // Without the first call, Node would take the terminal for raw already.
    this.#input.setRawMode(false);
    this.#input.setRawMode(true);
  }

  #show(): void {
    this.#promptedMs = performance.now();
    this.#write(this.#question?.prompt ?? '');
  }

  #write(text: string): void {
    try {
      writeSync(this.#outputFd, text);
    } catch {
      // The terminal is gone. Reading from it ends as well, which interrupts the prompt.
    }
  }
}
