/** What programs rely on in `node:fs/promises`. The suite runs on Node's own and on a volume's alike. */
import type { Dirent } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { NodeFs } from '../../src/volume/fs/node-types.ts';
import { bytesOf } from './support.ts';

/** A file system, and a folder in it that is the suite's own. */
export interface FsUnderTest {
  readonly fs: NodeFs;
  readonly root: string;
  readonly end: () => Promise<void>;
}

/** The outcome of a call: `ok`, or its error's code. */
async function outcomeOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return 'ok';
  } catch (error) {
    // Node has a code of its own for `rm` of a folder.
    return error instanceof Error && 'code' in error
      ? String(error.code).replace('ERR_FS_', '')
      : String(error);
  }
}

function kindOf(entry: Dirent): string {
  if (entry.isDirectory()) return 'folder';
  return entry.isSymbolicLink() ? 'link' : entry.isFile() ? 'file' : 'other';
}

export function describeFs(name: string, make: () => Promise<FsUnderTest>): void {
  describe(name, () => {
    let [fs, root, end]: [NodeFs, string, () => Promise<void>] = [{} as NodeFs, '', async () => undefined];
    let count = 0;

    beforeAll(async () => {
      ({ fs, root, end } = await make());
    });
    afterAll(() => end());

    /** A path that nothing has. */
    function fresh(): string {
      count += 1;
      return `${root}/${count}`;
    }

    async function folder(): Promise<string> {
      const path = fresh();
      await fs.mkdir(path);
      return path;
    }

    async function opened<Result>(
      path: string,
      flags: string,
      use: (file: FileHandle) => Promise<Result>,
    ): Promise<Result> {
      const file = await fs.open(path, flags);
      try {
        return await use(file);
      } finally {
        await file.close();
      }
    }

    describe('whole files', () => {
      it('are written and read: text, bytes, encodings, pieces', async () => {
        const path = fresh();
        await fs.writeFile(path, 'grüße');
        expect(await fs.readFile(path, 'utf8')).toBe('grüße');
        expect(await fs.readFile(path)).toEqual(Buffer.from('grüße'));
        expect(await fs.readFile(path, { encoding: 'hex' })).toBe(Buffer.from('grüße').toString('hex'));
        await fs.writeFile(path, '6869', 'hex');
        expect(await fs.readFile(path, 'latin1')).toBe('hi');
        await fs.writeFile(path, new DataView(Buffer.from('view').buffer.slice(0), 0, 0));
        expect((await fs.readFile(path)).byteLength).toBe(0);
        await fs.writeFile(path, ['a', Buffer.from('b'), 'c']);
        await fs.appendFile(
          path,
          (async function* () {
            yield 'd';
            yield Buffer.from('e');
          })(),
        );
        expect(await fs.readFile(path, 'utf8')).toBe('abcde');
        expect(await fs.readFile(path, { buffer: Buffer.alloc(9) })).toEqual(Buffer.from('abcde'));
      });

      it('are longer than one buffer', async () => {
        const path = fresh();
        const bytes = bytesOf(1, 300_000);
        await fs.writeFile(path, bytes);
        expect((await fs.readFile(path)).equals(bytes)).toBe(true);
        await fs.writeFile(path, 'short');
        expect(await fs.readFile(path, 'utf8')).toBe('short');
      });

      it('obey flags', async () => {
        const path = fresh();
        await fs.writeFile(path, 'one', { flag: 'wx' });
        expect(await outcomeOf(fs.writeFile(path, 'two', { flag: 'wx' }))).toBe('EEXIST');
        await fs.writeFile(path, '+two', { flag: 'a' });
        await fs.writeFile(path, 'O', { flag: 'r+' });
        expect(await fs.readFile(path, 'utf8')).toBe('One+two');
        expect(await outcomeOf(fs.readFile(fresh()))).toBe('ENOENT');
        expect(await outcomeOf(fs.readFile(root))).toBe('EISDIR');
        expect(await outcomeOf(fs.readFile(`${path}/x`))).toBe('ENOTDIR');
        expect(await outcomeOf(fs.writeFile(`${fresh()}/x`, ''))).toBe('ENOENT');
      });

      it('are stopped by a signal', async () => {
        const signal = AbortSignal.abort();
        const path = fresh();
        await fs.writeFile(path, 'x');
        await expect(fs.readFile(path, { signal })).rejects.toMatchObject({ name: 'AbortError' });
        await expect(fs.writeFile(path, 'y', { signal })).rejects.toMatchObject({ name: 'AbortError' });
        expect(await fs.readFile(path, 'utf8')).toBe('x');
      });

      it('are truncated and extended with zeros', async () => {
        const path = fresh();
        await fs.writeFile(path, '0123456789');
        await fs.truncate(path, 4);
        await fs.truncate(path, 6);
        expect(await fs.readFile(path)).toEqual(Buffer.from('0123\0\0'));
        await fs.truncate(path);
        expect((await fs.stat(path)).size).toBe(0);
      });

      it('are copied', async () => {
        const [from, to] = [fresh(), fresh()];
        await fs.writeFile(from, bytesOf(2, 50_000));
        await fs.copyFile(from, to);
        expect(await fs.readFile(to)).toEqual(await fs.readFile(from));
        expect(await outcomeOf(fs.copyFile(from, to, fs.constants.COPYFILE_EXCL))).toBe('EEXIST');
        await fs.writeFile(from, 'new');
        expect((await fs.stat(to)).size).toBe(50_000);
        await fs.copyFile(from, to);
        expect(await fs.readFile(to, 'utf8')).toBe('new');
        expect(await outcomeOf(fs.copyFile(fresh(), to))).toBe('ENOENT');
      });
    });

    describe('open files', () => {
      it('have a position that reads and writes without one move', async () => {
        const path = fresh();
        await opened(path, 'w+', async file => {
          expect((await file.write('abcdef')).bytesWritten).toBe(6);
          expect((await file.write(Buffer.from('XY'), 0, 2, 1)).bytesWritten).toBe(2);
          await file.write('g');
          const into = Buffer.alloc(10);
          expect((await file.read(into, 0, 10, 0)).bytesRead).toBe(7);
          expect(into.subarray(0, 7).toString()).toBe('aXYdefg');
          expect((await file.read(into, 0, 10, null)).bytesRead).toBe(0);
          expect((await file.read({ buffer: into, position: 2, length: 2, offset: 5 })).bytesRead).toBe(2);
          expect(into.subarray(5, 7).toString()).toBe('Yd');
        });
        await opened(path, 'r', async file => {
          const into = Buffer.alloc(3);
          const all: string[] = [];
          for (;;) {
            const { bytesRead } = await file.read(into);
            if (bytesRead === 0) break;
            all.push(into.subarray(0, bytesRead).toString());
          }
          expect(all).toEqual(['aXY', 'def', 'g']);
          expect((await file.read(into, { position: 0n })).bytesRead).toBe(3);
          expect((await file.read({ position: 1 })).buffer.subarray(0, 2).toString()).toBe('XY');
        });
      });

      it('append wherever they are told to write', async () => {
        const path = fresh();
        await fs.writeFile(path, 'one');
        await opened(path, 'a+', async file => {
          await file.write(Buffer.from('two'), 0, 3, 0);
          await file.appendFile('three');
          expect((await file.read(Buffer.alloc(3), 0, 3, 0)).buffer.toString()).toBe('one');
        });
        expect(await fs.readFile(path, 'utf8')).toBe('onetwothree');
      });

      it('take several buffers at once', async () => {
        const path = fresh();
        await opened(path, 'w+', async file => {
          const written = await file.writev([Buffer.from('ab'), new Uint8Array(0), Buffer.from('cde')]);
          expect(written.bytesWritten).toBe(5);
          await file.writev([Buffer.from('X')], 4);
          const into = [Buffer.alloc(1), Buffer.alloc(3), Buffer.alloc(9)];
          expect((await file.readv(into, 0)).bytesRead).toBe(5);
          expect(into.map(part => part.toString('latin1'))).toEqual(['a', 'bcd', 'X\0\0\0\0\0\0\0\0']);
        });
      });

      it('say what they are, and take attributes', async () => {
        const path = fresh();
        await opened(path, 'w', async file => {
          await file.write('1234567');
          expect((await file.stat()).size).toBe(7);
          expect((await fs.stat(path)).size).toBe(7);
          await file.truncate(3);
          await file.chmod(0o640);
          await file.utimes(new Date(1000), 1_500_000_000.5);
          const { size, mode, atimeMs, mtimeMs } = await file.stat();
          expect([size, mode & 0o7777, atimeMs, mtimeMs]).toEqual([3, 0o640, 1000, 1_500_000_000_500]);
          expect((await file.stat({ bigint: true })).mtimeNs).toBe(1_500_000_000_500_000_000n);
          await file.sync();
          await file.datasync();
        });
        expect((await fs.stat(path)).mtimeMs).toBe(1_500_000_000_500);
      });

      it('refuse what they were not opened for, and everything once they are closed', async () => {
        const path = fresh();
        await fs.writeFile(path, 'x');
        const reading = await fs.open(path);
        const writing = await fs.open(path, 'a');
        expect(await outcomeOf(reading.write('y'))).toBe('EBADF');
        expect(await outcomeOf(writing.read(Buffer.alloc(1)))).toBe('EBADF');
        await reading.close();
        await writing.close();
        expect(await outcomeOf(reading.read(Buffer.alloc(1)))).toBe('EBADF');
        expect(await outcomeOf(writing.write('y'))).toBe('EBADF');
        expect(await outcomeOf(writing.stat())).toBe('EBADF');
      });

      it('live on without a name, and under another', async () => {
        const [path, other] = [fresh(), fresh()];
        await fs.writeFile(path, 'before');
        const file = await fs.open(path, 'r+');
        await fs.rename(path, other);
        await file.write(Buffer.from('BE'), 0, 2, 0);
        await file.sync();
        expect(await fs.readFile(other, 'utf8')).toBe('BEfore');
        await fs.unlink(other);
        await file.write('!', 6);
        expect((await file.stat()).size).toBe(7);
        expect((await file.stat()).nlink).toBe(0);
        expect((await file.read(Buffer.alloc(7), 0, 7, 0)).buffer.toString()).toBe('BEfore!');
        await file.close();
        expect(await outcomeOf(fs.stat(other))).toBe('ENOENT');
      });

      it('are streams, and lines', async () => {
        const path = fresh();
        const bytes = bytesOf(3, 200_000);
        const source = await fs.open(path, 'w');
        const writing = source.createWriteStream();
        writing.write(bytes.subarray(0, 10));
        writing.end(bytes.subarray(10));
        await new Promise<void>((resolve, reject) =>
          writing.on('close', () => resolve()).on('error', reject),
        );
        expect(writing.bytesWritten).toBe(200_000);
        expect(await outcomeOf(source.stat())).toBe('EBADF');
        expect((await buffer((await fs.open(path)).createReadStream())).equals(bytes)).toBe(true);
        const part = (await fs.open(path)).createReadStream({ start: 5, end: 99_999, highWaterMark: 1000 });
        expect((await buffer(part)).equals(bytes.subarray(5, 100_000))).toBe(true);

        const copy = fresh();
        const target = await fs.open(copy, 'w');
        const from = await fs.open(path);
        const kept = target.createWriteStream({ autoClose: false, start: 0 });
        await pipeline(from.createReadStream(), kept);
        expect((await target.stat()).size).toBe(200_000);
        // Node does not close a file that has a stream.
        kept.destroy();
        await target.close();
        expect((await fs.readFile(copy)).equals(bytes)).toBe(true);

        await fs.writeFile(path, 'one\ntwo\r\nthree');
        const lines: string[] = [];
        for await (const line of (await fs.open(path)).readLines()) lines.push(line);
        expect(lines).toEqual(['one', 'two', 'three']);
        await opened(path, 'r', async file => {
          expect((await buffer(file.readableWebStream())).toString()).toBe('one\ntwo\r\nthree');
        });
      });

      it('read and write the rest of the file', async () => {
        const path = fresh();
        await opened(path, 'w+', async file => {
          await file.writeFile('0123456789');
          await file.write('ab', 0);
          expect(await file.readFile('utf8')).toBe('');
          expect((await file.read(Buffer.alloc(4), 0, 4, 0)).bytesRead).toBe(4);
        });
        await opened(path, 'r', async file => {
          await file.read(Buffer.alloc(4));
          expect(await file.readFile('utf8')).toBe('456789');
        });
      });
    });

    describe('folders', () => {
      it('are made, listed and removed', async () => {
        const path = await folder();
        expect(await outcomeOf(fs.mkdir(path))).toBe('EEXIST');
        expect(await outcomeOf(fs.mkdir(`${fresh()}/a`))).toBe('ENOENT');
        expect(await fs.mkdir(`${path}/a/b/c`, { recursive: true })).toBe(`${path}/a`);
        expect(await fs.mkdir(`${path}/a/b`, { recursive: true })).toBe(undefined);
        await fs.writeFile(`${path}/a/f`, 'x');
        await fs.symlink('f', `${path}/a/l`);
        expect(await outcomeOf(fs.mkdir(`${path}/a/f`, { recursive: true }))).toBe('EEXIST');
        expect(await outcomeOf(fs.mkdir(`${path}/a/f/x`, { recursive: true }))).toBe('ENOTDIR');
        expect((await fs.readdir(`${path}/a`)).sort()).toEqual(['b', 'f', 'l']);
        expect((await fs.readdir(`${path}/a`, 'buffer')).map(String).sort()).toEqual(['b', 'f', 'l']);
        expect((await fs.readdir(path, { recursive: true })).sort()).toEqual([
          'a',
          'a/b',
          'a/b/c',
          'a/f',
          'a/l',
        ]);
        const typed = await fs.readdir(path, { withFileTypes: true, recursive: true });
        expect(typed.map(entry => `${entry.parentPath}/${entry.name} ${kindOf(entry)}`).sort()).toEqual([
          `${path}/a folder`,
          `${path}/a/b folder`,
          `${path}/a/b/c folder`,
          `${path}/a/f file`,
          `${path}/a/l link`,
        ]);
        expect(await outcomeOf(fs.readdir(`${path}/a/f`))).toBe('ENOTDIR');
        expect(await outcomeOf(fs.rmdir(path))).toBe('ENOTEMPTY');
        expect(await outcomeOf(fs.rmdir(`${path}/a/f`))).toBe('ENOTDIR');
        expect(await outcomeOf(fs.rm(path))).toBe('EISDIR');
        expect(await outcomeOf(fs.unlink(`${path}/none`))).toBe('ENOENT');
        await fs.rm(`${path}/a/f`);
        await fs.rmdir(`${path}/a/b/c`);
        await fs.rm(path, { recursive: true });
        expect(await outcomeOf(fs.access(path))).toBe('ENOENT');
        expect(await outcomeOf(fs.rm(path, { recursive: true }))).toBe('ENOENT');
        await fs.rm(path, { recursive: true, force: true });
      });

      it('are walked with opendir', async () => {
        const path = await folder();
        for (const name of ['x', 'y', 'z']) await fs.writeFile(`${path}/${name}`, '');
        const names: string[] = [];
        for await (const entry of await fs.opendir(path)) names.push(`${entry.name} ${kindOf(entry)}`);
        expect(names.sort()).toEqual(['x file', 'y file', 'z file']);
        const dir = await fs.opendir(path);
        expect(dir.path).toBe(path);
        expect((await dir.read())?.isFile()).toBe(true);
        await dir.close();
        expect(await outcomeOf(fs.opendir(`${path}/x`))).toBe('ENOTDIR');
      });

      it('have temporary names', async () => {
        const one = await fs.mkdtemp(`${root}/tmp-`);
        const other = await fs.mkdtemp(`${root}/tmp-`);
        expect(one).toMatch(/\/tmp-[0-9A-Za-z]{6}$/);
        expect(other).not.toBe(one);
        expect((await fs.stat(one)).mode & 0o777).toBe(0o700);
      });
    });

    describe('names', () => {
      it('are changed, and replace others', async () => {
        const path = await folder();
        await fs.writeFile(`${path}/a`, 'a');
        await fs.writeFile(`${path}/b`, 'b');
        await fs.rename(`${path}/a`, `${path}/b`);
        expect(await fs.readdir(path)).toEqual(['b']);
        expect(await fs.readFile(`${path}/b`, 'utf8')).toBe('a');
        await fs.mkdir(`${path}/d/e`, { recursive: true });
        expect(await outcomeOf(fs.rename(`${path}/b`, `${path}/d`))).toBe('EISDIR');
        expect(await outcomeOf(fs.rename(`${path}/d`, `${path}/b`))).toBe('ENOTDIR');
        expect(await outcomeOf(fs.rename(`${path}/d`, `${path}/d/e/f`))).toBe('EINVAL');
        expect(await outcomeOf(fs.rename(`${path}/none`, `${path}/x`))).toBe('ENOENT');
        await fs.rename(`${path}/b`, `${path}/d/e/b`);
        expect(await fs.readFile(`${path}/d/e/b`, 'utf8')).toBe('a');
      });

      it('are several of one file', async () => {
        const path = await folder();
        await fs.writeFile(`${path}/a`, 'a');
        await fs.link(`${path}/a`, `${path}/b`);
        expect((await fs.stat(`${path}/a`)).nlink).toBe(2);
        expect((await fs.stat(`${path}/a`)).ino).toBe((await fs.stat(`${path}/b`)).ino);
        await fs.appendFile(`${path}/b`, 'b');
        await fs.unlink(`${path}/a`);
        expect(await fs.readFile(`${path}/b`, 'utf8')).toBe('ab');
        expect(await outcomeOf(fs.link(`${path}/none`, `${path}/c`))).toBe('ENOENT');
        await fs.mkdir(`${path}/d`);
        expect(await outcomeOf(fs.link(`${path}/b`, `${path}/d`))).toBe('EEXIST');
      });

      it('are symbolic links', async () => {
        const path = await folder();
        await fs.writeFile(`${path}/file`, 'x');
        await fs.symlink('file', `${path}/link`);
        await fs.symlink(path, `${path}/up`);
        await fs.symlink('none', `${path}/dangling`);
        expect(await outcomeOf(fs.symlink('file', `${path}/link`))).toBe('EEXIST');
        expect(await fs.readlink(`${path}/link`)).toBe('file');
        expect(await outcomeOf(fs.readlink(`${path}/file`))).toBe('EINVAL');
        expect((await fs.lstat(`${path}/link`)).isSymbolicLink()).toBe(true);
        expect((await fs.stat(`${path}/link`)).isFile()).toBe(true);
        expect(await fs.readFile(`${path}/up/up/link`, 'utf8')).toBe('x');
        expect(await outcomeOf(fs.stat(`${path}/dangling`))).toBe('ENOENT');
        expect(await fs.realpath(`${path}/up/link`)).toBe(await fs.realpath(`${path}/file`));
        expect(await outcomeOf(fs.realpath(`${path}/dangling`))).toBe('ENOENT');
        await fs.lutimes(`${path}/link`, 5, 6);
        expect((await fs.lstat(`${path}/link`)).mtimeMs).toBe(6000);
        expect((await fs.stat(`${path}/link`)).mtimeMs).not.toBe(6000);
        await fs.rm(`${path}/up`, { recursive: true });
        expect(await fs.readFile(`${path}/file`, 'utf8')).toBe('x');
      });
    });

    describe('files that are made', () => {
      it('are what links lead to, also those that lead nowhere', async () => {
        const path = await folder();
        await fs.symlink('none', `${path}/dangling`);
        await fs.symlink('dangling', `${path}/twice`);
        await fs.writeFile(`${path}/twice`, 'made');
        expect(await fs.readFile(`${path}/none`, 'utf8')).toBe('made');
        expect((await fs.lstat(`${path}/dangling`)).isSymbolicLink()).toBe(true);
        await fs.symlink('loop', `${path}/loop`);
        expect(['ELOOP', 'EINVAL']).toContain(await outcomeOf(fs.writeFile(`${path}/loop`, 'x')));
        await fs.symlink('none/x', `${path}/through`);
        expect(await outcomeOf(fs.writeFile(`${path}/through`, 'x'))).toBe('ENOTDIR');
        await fs.symlink('nowhere/x', `${path}/far`);
        expect(await outcomeOf(fs.writeFile(`${path}/far`, 'x'))).toBe('ENOENT');
      });

      it('are never what is there when they must be new, be it a folder or a link', async () => {
        const path = await folder();
        await fs.mkdir(`${path}/d`);
        await fs.symlink('none', `${path}/dangling`);
        for (const name of ['d', 'dangling']) {
          expect(await outcomeOf(fs.writeFile(`${path}/${name}`, 'x', { flag: 'wx' }))).toBe('EEXIST');
        }
        expect(await outcomeOf(fs.writeFile(`${path}/d`, 'x'))).toBe('EISDIR');
        expect((await fs.readdir(path)).sort()).toEqual(['d', 'dangling']);
      });
    });

    describe('attributes', () => {
      it('are set and told', async () => {
        const path = fresh();
        await fs.writeFile(path, 'x', { mode: 0o600 });
        expect((await fs.stat(path)).mode).toBe(0o100600);
        await fs.chmod(path, '644');
        expect((await fs.stat(path)).mode).toBe(0o100644);
        await fs.utimes(path, 1, new Date(2500));
        const { atimeMs, mtimeMs, mtime, uid, gid } = await fs.stat(path);
        expect([atimeMs, mtimeMs, mtime.getTime()]).toEqual([1000, 2500, 2500]);
        await fs.chown(path, uid, gid);
        await fs.lchown(path, uid, gid);
        expect((await fs.stat(path, { bigint: true })).mtimeNs).toBe(2_500_000_000n);
        expect((await fs.stat(root)).isDirectory()).toBe(true);
        expect(await outcomeOf(fs.chmod(fresh(), 0o600))).toBe('ENOENT');
      });

      it('say who may execute a file', async () => {
        const path = fresh();
        await fs.writeFile(path, '');
        await fs.access(path, fs.constants.R_OK | fs.constants.W_OK);
        expect(await outcomeOf(fs.access(path, fs.constants.X_OK))).toBe('EACCES');
        await fs.chmod(path, 0o755);
        await fs.access(path, fs.constants.X_OK);
        expect(await outcomeOf(fs.access(fresh()))).toBe('ENOENT');
      });
    });
  });
}
