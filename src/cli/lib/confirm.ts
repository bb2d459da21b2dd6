/** Asking before something that cannot be undone. */
import { createInterface } from 'node:readline';
import { requireArgument } from '../../base/errors.ts';

/**
 * Resolves when somebody at the terminal has typed `yes`. EINVAL for any other answer, and where there is nobody to ask; an
 * interruption as the signal's reason.
 */
export async function confirm(question: string, signal: AbortSignal): Promise<void> {
  requireArgument(process.stdin.isTTY === true, 'there is no terminal to ask on: give --yes if you mean it');
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
    requireArgument(typed.trim().toLowerCase() === 'yes', 'nothing was done');
  } finally {
    signal.removeEventListener('abort', stop);
    reader.close();
  }
}
