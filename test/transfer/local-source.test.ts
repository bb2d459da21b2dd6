/** Reading local files, with koffi and without. */
import { execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { errorCodeOf } from '../support/errors.ts';
import { IS_LONG } from '../support/soak.ts';
import {
  asNobody,
  descriptorCount,
  localModules,
  MODES,
  makeFolder,
  neverLost,
  ODD_NAMES,
  removeFolder,
  type Source,
} from './local-support.ts';

const HAS_PYTHON = spawnSync('python3', ['--version']).status === 0;
let root = '';
beforeEach(() => {
  root = makeFolder();
});
afterEach(() => removeFolder(root));

function pathOf(name: string): Buffer {
  return Buffer.from(`${root}/${name}`, 'latin1');
}

function setAttribute(path: string, key: string, value: string): void {
  const script = 'import os,sys; os.setxattr(sys.argv[1], sys.argv[2], sys.argv[3].encode())';
  execFileSync('python3', ['-c', script, path, key, value]);
}

describe.each(MODES)('reading $how', ({ hasKoffi }) => {
  let local: Source;
  beforeAll(async () => {
    local = await localModules(hasKoffi);
  });

  function contentOf(name: string): string {
    const folder = local.LocalFolder.open(root);
    const file = folder.openFile(name);
    const into = new Uint8Array(file.stat.sizeBytes + 1);
    const size = file.readSync(into, 0);
    file.close();
    folder.close();
    return Buffer.from(into.subarray(0, size)).toString('latin1');
  }

  it('finds files of any name, in order of the bytes', () => {
    for (const name of ODD_NAMES) fs.writeFileSync(pathOf(name), name, 'latin1');
    const folder = local.LocalFolder.open(root);
    const entries = folder.entries();
    expect(entries.map(({ name }) => name)).toEqual([...ODD_NAMES].sort());
    for (const { name, type, sizeBytes } of entries) {
      expect([type, sizeBytes]).toEqual(['file', name.length]);
      expect(contentOf(name)).toBe(name);
    }
    folder.close();
  });

  it('opens folders whose own path is no text', () => {
    fs.mkdirSync(pathOf('\xff\n'));
    fs.writeFileSync(pathOf('\xff\n/a'), '');
    const folder = local.LocalFolder.open(pathOf('\xff\n'));
    expect(folder.names()).toEqual(['a']);
    expect(folder.stat.type).toBe('folder');
    folder.close();
    const outer = local.LocalFolder.open(root);
    const inner = outer.folder('\xff\n');
    expect(inner.names()).toEqual(['a']);
    inner.close();
    outer.close();
  });

  it('tells what Node tells', () => {
    fs.writeFileSync(join(root, 'file'), 'x'.repeat(1234), { mode: 0o604 });
    fs.chmodSync(join(root, 'file'), 0o4755);
    fs.linkSync(join(root, 'file'), join(root, 'link'));
    fs.mkdirSync(join(root, 'folder'));
    fs.symlinkSync('nowhere', join(root, 'symlink'));
    execFileSync('mkfifo', [join(root, 'fifo')]);
    const folder = local.LocalFolder.open(root);
    for (const entry of folder.entries()) {
      const stats = fs.lstatSync(join(root, entry.name), { bigint: true });
      expect(entry).toEqual({
        name: entry.name,
        type: { link: 'file' }[entry.name] ?? entry.name,
        mode: Number(stats.mode) & 0o7777,
        uid: Number(stats.uid),
        gid: Number(stats.gid),
        sizeBytes: Number(stats.size),
        mtimeNs: stats.mtimeNs,
        ctimeNs: stats.ctimeNs,
        atimeNs: stats.atimeNs,
        device: Number(stats.dev),
        inode: stats.ino,
        linkCount: Number(stats.nlink),
        major: 0,
        minor: 0,
      });
    }
    expect(folder.names()).toEqual(['fifo', 'file', 'folder', 'link', 'symlink']);
    expect(folder.entry('link').linkCount).toBe(2);
    folder.close();
  });

  it('tells devices and times before 1970 as Node does', () => {
    const folder = local.LocalFolder.open('/dev');
    expect(folder.entry('null')).toMatchObject({ type: 'characterDevice', major: 1, minor: 3 });
    expect(folder.entry('null').device).toBe(fs.lstatSync('/dev/null').dev);
    folder.close();
    fs.writeFileSync(join(root, 'old'), '');
    // Node's own takes times before 1970 for now.
    execFileSync('touch', ['-d', '@-1000.25', join(root, 'old')]);
    expect(local.statLocal(join(root, 'old')).mtimeNs).toBe(-1_000_250_000_000n);
    const opened = local.openLocalFile(join(root, 'old'));
    expect(opened.stat.mtimeNs).toBe(-1_000_250_000_000n);
    opened.close();
  });

  it('follows links only where asked to', () => {
    fs.writeFileSync(join(root, 'file'), 'x');
    fs.symlinkSync('file', join(root, 'toFile'));
    fs.mkdirSync(join(root, 'folder'));
    fs.symlinkSync('folder', join(root, 'toFolder'));
    fs.symlinkSync(pathOf('odd\n\xff'), pathOf('toOdd'));
    const folder = local.LocalFolder.open(root);
    expect(errorCodeOf(() => folder.openFile('toFile'))).toBe('EINVAL');
    expect(errorCodeOf(() => folder.folder('toFolder'))).toBe('ENOTDIR');
    expect(Buffer.from(folder.readLink('toOdd')).toString('latin1')).toBe(`${root}/odd\n\xff`);
    folder.close();
    expect(local.statLocal(join(root, 'toFile')).type).toBe('symlink');
    expect(local.statLocal(join(root, 'toFile'), { followsLink: true }).type).toBe('file');
    expect(Buffer.from(local.readLocalLink(join(root, 'toFile'))).toString()).toBe('file');
    local.LocalFolder.open(join(root, 'toFolder')).close();
    local.openLocalFile(join(root, 'toFile')).close();
  });

  it('opens ordinary files only, and never waits', async () => {
    const server = createServer().listen(join(root, 'socket'));
    await once(server, 'listening');
    execFileSync('mkfifo', [join(root, 'fifo')]);
    fs.mkdirSync(join(root, 'folder'));
    const folder = local.LocalFolder.open(root);
    const before = descriptorCount();
    expect(errorCodeOf(() => folder.openFile('fifo'))).toBe('EINVAL');
    expect(errorCodeOf(() => folder.openFile('folder'))).toBe('EINVAL');
    expect(errorCodeOf(() => folder.openFile('socket'))).toBe('EINVAL');
    expect(errorCodeOf(() => folder.openFile('none'))).toBe('ENOENT');
    expect(errorCodeOf(() => folder.folder('fifo'))).toBe('ENOTDIR');
    expect(descriptorCount()).toBe(before);
    folder.close();
    server.close();
    expect(errorCodeOf(() => local.LocalFolder.open(join(root, 'none')))).toBe('ENOENT');
    expect(errorCodeOf(() => local.LocalFolder.open(join(root, 'fifo')))).toBe('ENOTDIR');
    expect(errorCodeOf(() => local.statLocal(join(root, 'none')))).toBe('ENOENT');
  });

  it('takes nothing but names', () => {
    fs.mkdirSync(join(root, 'inner'));
    const folder = local.LocalFolder.open(join(root, 'inner'));
    for (const name of ['..', '.', '', '../inner', 'a\0', '\u2e2e', '\u012f'])
      expect(errorCodeOf(() => folder.entry(name))).toBe('EINVAL');
    folder.close();
  });

  it.skipIf(process.getuid?.() !== 0)('says what it may not read', () => {
    fs.chmodSync(root, 0o755);
    fs.writeFileSync(join(root, 'secret'), 'x', { mode: 0o000 });
    fs.mkdirSync(join(root, 'closed'), { mode: 0o700 });
    const folder = local.LocalFolder.open(root);
    asNobody(() => {
      expect(errorCodeOf(() => folder.openFile('secret'))).toBe('EDENIED');
      expect(errorCodeOf(() => folder.folder('closed'))).toBe('EDENIED');
      expect(() => folder.openFile('secret')).toThrow(`cannot read ${root}/secret: permission denied`);
    });
    folder.close();
  });

  it('reads on after short reads, into shared memory, and stops at the end', async () => {
    const content = Buffer.alloc(9_000_001, 'netseal ');
    fs.writeFileSync(join(root, 'file'), content);
    const file = local.openLocalFile(join(root, 'file'));
    const shared = new Uint8Array(new SharedArrayBuffer(content.length + 100)).subarray(3);
    expect(await file.read(shared, 0)).toBe(content.length);
    expect(Buffer.compare(shared.subarray(0, content.length), content)).toBe(0);
    expect(await file.read(shared.subarray(0, 10), content.length - 4)).toBe(4);
    expect(await file.read(shared, content.length)).toBe(0);
    expect(file.readSync(shared.subarray(0, 10), content.length - 4)).toBe(4);
    const stopped = AbortSignal.abort(new Error('enough'));
    await expect(file.read(shared, 0, stopped)).rejects.toThrow('enough');
    file.close();
  });

  it('keeps the descriptor of a closed file until the last read has ended', async () => {
    fs.writeFileSync(join(root, 'file'), Buffer.alloc(12_000_000, 1));
    const before = descriptorCount();
    const file = local.openLocalFile(join(root, 'file'));
    const reading = file.read(new Uint8Array(12_000_000), 0);
    file.close();
    expect(descriptorCount()).toBe(before + 1);
    await expect(reading).rejects.toMatchObject({ code: 'ECLOSED' });
    expect(descriptorCount()).toBe(before);
    expect(errorCodeOf(() => file.readSync(new Uint8Array(1), 0))).toBe('ECLOSED');
  });

  it('sees that a file has changed', () => {
    const path = join(root, 'file');
    for (const change of [
      () => fs.appendFileSync(path, 'x'),
      () => fs.utimesSync(path, 1, 1),
      () => fs.chmodSync(path, 0o600),
    ]) {
      fs.writeFileSync(path, 'x', { mode: 0o644 });
      const file = local.openLocalFile(path);
      expect(file.changedSinceOpen()).toBe(false);
      // The clock of the file system has steps.
      const { ctimeMs } = fs.statSync(path);
      while (Date.now() <= ctimeMs + 20);
      change();
      expect(file.changedSinceOpen()).toBe(true);
      file.close();
    }
  });

  it('walks over the data of a sparse file', () => {
    const path = join(root, 'sparse');
    const fd = fs.openSync(path, 'w');
    const size = 10 * 1024 * 1024;
    const written: [number, number][] = [
      [1024 * 1024, 65536],
      [5 * 1024 * 1024, 4096],
    ];
    for (const [start, length] of written) fs.writeSync(fd, Buffer.alloc(length, 1), 0, length, start);
    fs.ftruncateSync(fd, size);
    fs.closeSync(fd);
    const file = local.openLocalFile(path);
    const ranges: { start: number; end: number }[] = [];
    for (let at = 0; ; ) {
      const range = file.nextData(at);
      if (range === undefined) break;
      expect(range.start).toBeGreaterThanOrEqual(at);
      expect(range.end).toBeGreaterThan(range.start);
      ranges.push(range);
      at = range.end;
    }
    // Whatever is seen, no data is left out.
    for (const [start, length] of written)
      expect(ranges.some(range => range.start <= start && range.end >= start + length)).toBe(true);
    expect(ranges.at(-1)?.end).toBeLessThanOrEqual(size);
    if (hasKoffi) expect(ranges).toHaveLength(2);
    else expect(ranges).toEqual([{ start: 0, end: size }]);
    file.close();
  });

  it.runIf(IS_LONG && HAS_PYTHON)('reads the attributes that are copied, in order', () => {
    const path = join(root, 'file');
    fs.writeFileSync(path, '');
    fs.mkdirSync(join(root, 'folder'));
    setAttribute(path, 'user.zwei', 'b'.repeat(2000));
    setAttribute(path, 'user.eins', '');
    setAttribute(join(root, 'folder'), 'user.on folder', '1');
    if (process.getuid?.() === 0) setAttribute(path, 'trusted.machine', 'x');
    const folder = local.LocalFolder.open(root);
    const file = folder.openFile('file');
    const expected = hasKoffi
      ? [
          { key: 'user.eins', value: new Uint8Array() },
          { key: 'user.zwei', value: new Uint8Array(2000).fill(98) },
        ]
      : [];
    expect(file.xattrs(neverLost)).toEqual(expected);
    expect(folder.xattrs('file', neverLost)).toEqual(expected);
    const inner = folder.folder('folder');
    expect(inner.ownXattrs(neverLost).map(({ key }) => key)).toEqual(hasKoffi ? ['user.on folder'] : []);
    expect(folder.ownXattrs(neverLost)).toEqual([]);
    inner.close();
    file.close();
    folder.close();
  });

  it('has no attributes where there are none', () => {
    const folder = local.LocalFolder.open('/proc/self');
    expect(folder.xattrs('status', neverLost)).toEqual([]);
    expect(folder.xattrs('exe', neverLost)).toEqual([]);
    folder.close();
  });
});
