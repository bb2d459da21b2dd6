/** The system calls that Node lacks: there or not, and what is said about it. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const NATIVE = fileURLToPath(new URL('../../src/transfer/local-native.ts', import.meta.url));

/** What `expression` is in a process of its own, where `local` is the module. */
function evaluate(expression: string, environment: Record<string, string> = {}): unknown {
  const script = `
    import { createRequire } from 'node:module';
    import * as local from ${JSON.stringify(NATIVE)};
    const isLoaded = () => Object.keys(createRequire(${JSON.stringify(NATIVE)}).cache).some(path => path.includes('koffi'));
    console.log(JSON.stringify(${expression}));`;
  const env = { ...process.env, NETSEAL_KOFFI: undefined, ...environment };
  return JSON.parse(
    execFileSync(process.execPath, ['--input-type=module', '-e', script], { env, encoding: 'utf8' }),
  );
}

describe.runIf(process.platform === 'linux')('calls that Node lacks', () => {
  it('are loaded when they are needed', () => {
    expect(evaluate('[isLoaded(), local.nativeReport(), isLoaded()]')).toEqual([
      false,
      { missing: [] },
      true,
    ]);
  });

  it('are all missing without koffi, and that is said', () => {
    expect(evaluate('[local.nativeReport(), isLoaded()]', { NETSEAL_KOFFI: '0' })).toEqual([
      {
        missing: [
          'extended attributes',
          'holes of files (read as zeros)',
          'times to the nanosecond (microseconds instead)',
        ],
      },
      false,
    ]);
  });

  it('fail with the errors of the system', () => {
    const failed = `(local.native().folders.openat(-1, Buffer.from('x\\0'), 0, 'int', 0), local.systemError('openat'))`;
    const message = 'EBADF: bad file descriptor, openat';
    expect(evaluate(`(error => ({ ...error, message: error.message }))(${failed})`)).toEqual({
      errno: -9,
      code: 'EBADF',
      syscall: 'openat',
      message,
    });
  });
});
