/** A real tree, by the commands that a person would type; in the long tests of more than 20,000 files. */
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { KIB } from '../../src/base/geometry.ts';
import { run } from '../cli/run.ts';
import { mixedBytes } from '../pipeline/support.ts';
import { IS_LONG, soakSize } from '../support/soak.ts';
import { comparable, lookAtTree } from './copy-support.ts';

const FILES = soakSize(4000, 21_000);
/** What any Linux machine has, and this checkout. */
const SOURCES = [
  fileURLToPath(new URL('../../node_modules', import.meta.url)),
  '/usr/include',
  '/usr/lib/python3',
  '/usr/share',
];
/** Larger ones are left out: they would only take time. */
const BYTES_MAX = 128 * KIB;

let folder = '';

beforeEach(() => {
  const base = fs.existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
  folder = fs.mkdtempSync(join(base, 'netseal-real-'));
});

afterEach(() => {
  fs.rmSync(folder, { recursive: true });
});

/** Copies what there is, with modes, times and links; makes up the rest. */
function assemble(target: string): void {
  let left = FILES;
  const copy = (from: string, to: string): void => {
    const stat = fs.lstatSync(from);
    if (stat.isSymbolicLink()) {
      fs.symlinkSync(fs.readlinkSync(from), to);
    } else if (stat.isDirectory()) {
      fs.mkdirSync(to);
      for (const name of fs.readdirSync(from)) if (left > 0) copy(join(from, name), join(to, name));
      fs.utimesSync(to, stat.atimeMs / 1000, stat.mtimeMs / 1000);
    } else if (stat.isFile() && stat.size <= BYTES_MAX) {
      fs.copyFileSync(from, to);
      fs.utimesSync(to, stat.atimeMs / 1000, stat.mtimeMs / 1000);
      left -= 1;
      if (left % 100 === 0) fs.linkSync(to, `${to}.linked`);
    }
  };
  fs.mkdirSync(target);
  for (const [at, source] of SOURCES.entries()) {
    if (left > 0 && fs.existsSync(source)) copy(source, join(target, `${at}`));
  }
  for (; left > 0; left -= 1) {
    const inFolder = join(target, 'made', `${left % 100}`);
    fs.mkdirSync(inFolder, { recursive: true });
    fs.writeFileSync(join(inFolder, `${left}`), mixedBytes(left % 9000, left));
  }
}

describe('a real tree', () => {
  it.runIf(IS_LONG)(
    'goes in and comes out the same, and the volume is whole',
    async () => {
      const env = { NETSEAL_STATE: join(folder, 'state') };
      const netseal = async (...args: string[]): Promise<string> => {
        const { exitCode, stderr, stdout } = await run(args, { cwd: folder, env });
        expect({ exitCode, stderr: exitCode === 0 ? '' : stderr }).toEqual({ exitCode: 0, stderr: '' });
        return `${stdout}`;
      };
      fs.writeFileSync(join(folder, 'key'), mixedBytes(32, 1));
      assemble(join(folder, 'tree'));
      const key = ['--key-file', 'key'];
      await netseal('init', 'vol', ...key);
      const put = JSON.parse(await netseal('put', '-r', '--json', ...key, 'tree', 'vol:/'));
      expect(put).toMatchObject({ failures: [], notes: [] });
      expect(put.files).toBeGreaterThanOrEqual(0.95 * FILES);
      expect(put.links).toBeGreaterThan(FILES / 210);
      const got = JSON.parse(await netseal('get', '-r', '--json', ...key, 'vol:/tree', 'out'));
      const { elapsedMs: _, ...counts } = put;
      expect(got).toMatchObject(counts);
      expect(comparable(lookAtTree(join(folder, 'out')))).toEqual(
        comparable(lookAtTree(join(folder, 'tree'))),
      );
      const again = JSON.parse(await netseal('put', '-r', '--json', ...key, 'tree', 'vol:/'));
      expect(again).toMatchObject({ files: 0, links: 0, symlinks: 0, folders: 0, bytes: 0, failures: [] });
      await netseal('verify', ...key, 'vol');
    },
    240_000,
  );
});
