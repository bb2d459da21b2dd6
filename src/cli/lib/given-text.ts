/**
 * Text that the system gives to a process as bytes: arguments and environment variables. Node decodes it with
 * loss: all bytes that are not UTF-8 become U+FFFD, so two different names or passphrases would become one.
 * Such text is refused here.
 */
import { readFileSync } from 'node:fs';
import { NetsealError } from '../../base/errors.ts';
import { showName } from '../../transfer/local-names.ts';

/**
 * Checks that the arguments are what was typed. EINVAL when one is not UTF-8.
 *
 * @param args the last arguments of this process.
 */
export function checkArguments(args: readonly string[]): void {
  if (!args.some(isSuspect)) return;
  const typed = readList('/proc/self/cmdline')?.slice(-args.length);
  for (const [at, arg] of args.entries()) {
    const bytes = typed?.[at];
    if (!isSuspect(arg) || bytes?.equals(Buffer.from(arg)) === true) continue;
    const shown = bytes === undefined ? arg : showName(bytes.toString('latin1'));
    throw new NetsealError(
      'EINVAL',
      `argument ${at + 1} is not UTF-8: ${shown}; write each such byte as \\xNN, and add --escaped`,
    );
  }
}

/**
 * Returns an environment variable; undefined when it is not set. EINVAL when it is not UTF-8.
 *
 * Where the system does not show its bytes (all but Linux), a value with U+FFFD is refused as well.
 */
export function environment(name: string): string | undefined {
  const value = process.env[name];
  if (value === undefined || !isSuspect(value)) return value;
  const start = Buffer.from(`${name}=`);
  const bytes = readList('/proc/self/environ')?.find(entry => entry.subarray(0, start.length).equals(start));
  if (bytes?.equals(Buffer.from(`${name}=${value}`)) === true) return value;
  throw new NetsealError('EINVAL', `${name} is not UTF-8`);
}

/** True when text may have lost bytes when it was decoded, or would lose some when it is encoded. */
function isSuspect(text: string): boolean {
  return text.includes('\ufffd') || !text.isWellFormed();
}

/** Reads entries that end with a zero byte each. Undefined where there is no such file. */
function readList(path: string): Buffer[] | undefined {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch {
    return undefined;
  }
  const entries: Buffer[] = [];
  for (let start = 0, end = bytes.indexOf(0); end !== -1; start = end + 1, end = bytes.indexOf(0, start)) {
    entries.push(bytes.subarray(start, end));
  }
  return entries;
}
