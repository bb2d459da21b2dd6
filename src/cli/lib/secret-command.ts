/** The output of a command that knows a passphrase, such as a password manager. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { requireArgument } from '../../base/errors.ts';

/**
 * Runs a command in the user's shell and returns what it prints. Its standard input is empty: ours may carry
 * data. EINVAL when it fails, or prints more than `maxBytes`. When the signal aborts, the command is ended.
 *
 * @param name the option that names the command, for messages.
 */
export async function commandOutput(
  name: string,
  command: string,
  maxBytes: number,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  const child = spawn(command, { shell: true, stdio: ['ignore', 'pipe', 'inherit'], signal });
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  child.stdout.on('data', (chunk: Buffer) => {
    sizeBytes += chunk.byteLength;
    if (sizeBytes <= maxBytes) chunks.push(chunk);
    else child.kill();
  });
  const [exitCode, endedBy] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  requireArgument(sizeBytes <= maxBytes, `${name}: the command printed more than ${maxBytes} bytes`);
  requireArgument(
    exitCode === 0,
    `${name}: the command failed with ${exitCode === null ? endedBy : `exit code ${exitCode}`}`,
  );
  return Buffer.concat(chunks);
}
