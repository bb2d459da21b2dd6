/**
 * Tests on real servers. They run in the long run, which CI does, and where the server's programs are installed; else
 * a line says what was left out. `NETSEAL_TEST_SERVERS=1` runs them in the short run as well.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe } from 'vitest';
import { hasRgw, type Rgw, startRgw, stopRgw } from '../servers/rgw.ts';
import { freePorts } from '../servers/run.ts';
import { IS_LONG } from '../support/soak.ts';

const IS_WANTED = IS_LONG || process.env.NETSEAL_TEST_SERVERS !== undefined;

/** Defines tests that need Ceph's gateway. `server` can be called when they run. */
export function describeOnRgw(define: (server: () => Rgw) => void): void {
  const isRun = IS_WANTED && hasRgw();
  describe.runIf(isRun)(isRun ? 'on Ceph' : 'on Ceph: not run, as it is not installed or not wanted', () => {
    let folder = '';
    let server: Rgw | undefined;
    beforeAll(async () => {
      folder = mkdtempSync(join(tmpdir(), 'netseal-rgw-'));
      server = await startRgw(folder, await freePorts(2));
    });
    afterAll(async () => {
      await stopRgw(folder);
      rmSync(folder, { recursive: true, force: true });
    });
    define(() => {
      if (server === undefined) throw new Error('the server is not up');
      return server;
    });
  });
}
