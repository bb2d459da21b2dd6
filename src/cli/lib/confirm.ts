/** Asking before something that cannot be undone. */
import { createInterface } from 'node:readline';
import { requireArgument } from '../../base/errors.ts';

/** True when there is a terminal to ask on. */
export function canConfirm(): boolean {
  return process.stdin.isTTY === true;
}

/**
 * Asks on the terminal, and resolves when the answer is `yes`. Rejects with EINVAL for any other answer or
 * without a terminal, and with an AbortError after Ctrl-C, Ctrl-D or the signal.
 */
export async function confirm(question: string, signal: AbortSignal): Promise<void> {
  requireArgument(canConfirm(), 'there is no terminal to ask on: give --yes if you are sure');
  const reader = createInterface({ input: process.stdin, output: process.stderr });
  const { promise: interrupted, reject } = Promise.withResolvers<never>();
  const stop = (): void => reject(new DOMException('interrupted', 'AbortError'));
  interrupted.catch(() => undefined);
  signal.addEventListener('abort', stop);
  reader.on('SIGINT', stop);
  reader.on('close', stop);
  try {
    const answer = new Promise<string>(resolve =>
      reader.question(`${question} Type "yes" to go on: `, resolve),
    );
    const typed = await Promise.race([answer, interrupted]);
    requireArgument(typed.trim().toLowerCase() === 'yes', 'nothing was done: the answer was not "yes"');
  } finally {
    signal.removeEventListener('abort', stop);
    reader.close();
  }
}
