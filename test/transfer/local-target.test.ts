/** Writing local files, with koffi and without: whole or not at all, as they were, and never anywhere else. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Attributes } from '../../src/server/sealed/inode.ts';
import { isComponent, isPartialName } from '../../src/transfer/local-names.ts';
import { toBytesName } from '../../src/volume/names/name-checks.ts';
import { errorCodeOf } from '../support/errors.ts';
import { checkProperty } from '../support/property.ts';
import {
  ATTRIBUTES,
  asNobody,
  CAN_MOUNT,
  descriptorCount,
  localModules,
  MODES,
  makeFolder,
  mountSmall,
  neverLost,
  ODD_NAMES,
  removeFolder,
  type Source,
  type Target,
  unmount,
} from './local-support.ts';

const IS_ROOT = process.getuid?.() === 0;
const HAS_PYTHON = spawnSync('python3', ['--version']).status === 0;
let parent = '';
let root = '';
let outside = '';
beforeEach(() => {
  parent = makeFolder();
  fs.chmodSync(parent, 0o755);
  root = join(parent, 'root');
  outside = join(parent, 'outside');
  fs.mkdirSync(outside);
});
afterEach(() => {
  // Nothing may ever come here.
  expect(fs.readdirSync(outside)).toEqual([]);
  removeFolder(parent);
});

describe.each(MODES)('writing $how', ({ hasKoffi }) => {
  let local: Source & Target;
  beforeAll(async () => {
    local = await localModules(hasKoffi);
  });

  type Folder = ReturnType<Target['TargetFolder']['open']>;

  function put(folder: Folder, name: string, content: string, attributes: Partial<Attributes> = {}): void {
    const file = folder.createFile(name);
    file.writeSync(Buffer.from(content, 'latin1'), 0);
    file.finish({ attributes: { ...ATTRIBUTES, ...attributes }, sizeBytes: content.length });
  }

  function withRoot(action: (folder: Folder) => void): void {
    const folder = local.TargetFolder.create(root);
    try {
      action(folder);
    } finally {
      folder.close();
    }
  }

  it('makes files of any name', () => {
    withRoot(folder => {
      for (const name of ODD_NAMES) put(folder, name, `content of ${name}`);
      expect(folder.names()).toEqual([...ODD_NAMES].sort());
    });
    for (const name of ODD_NAMES)
      expect(fs.readFileSync(Buffer.from(`${root}/${name}`, 'latin1'), 'latin1')).toBe(`content of ${name}`);
  });

  it('makes what it reads back', () => {
    const names = fc
      .uint8Array({ minLength: 1, maxLength: 255 })
      .map(toBytesName)
      .filter(name => isComponent(name) && !isPartialName(name));
    const files = fc.dictionary(names, fc.uint8Array({ maxLength: 5000 }).map(toBytesName), { maxKeys: 5 });
    checkProperty(files, contents => {
      removeFolder(root);
      withRoot(folder => {
        for (const name of Object.keys(contents)) put(folder, name, contents[name]!);
      });
      const source = local.LocalFolder.open(root);
      const entries = source.entries();
      const found = entries.map(({ name, sizeBytes }) => {
        const into = new Uint8Array(sizeBytes);
        const file = source.openFile(name);
        file.readSync(into, 0);
        file.close();
        return [name, toBytesName(into)];
      });
      source.close();
      expect(found).toEqual(Object.entries(contents).sort(([left], [right]) => (left < right ? -1 : 1)));
    });
  });

  it('refuses names that lead elsewhere, whatever is asked for', () => {
    withRoot(folder => {
      for (const name of [
        '',
        '.',
        '..',
        '../outside/x',
        '/tmp/x',
        'a/b',
        'a\0b',
        'x'.repeat(256),
        '\u2e2e',
        'a\u012fb',
      ])
        for (const action of [
          () => folder.createFile(name),
          () => folder.child(name),
          () => folder.existingChild(name),
          () => folder.existing(name),
          () => folder.remove(name),
          () => folder.symlink(name, Buffer.from('x'), ATTRIBUTES),
          () => folder.link(name, folder, 'x'),
          () => folder.link('x', folder, name),
        ])
          expect(errorCodeOf(action), JSON.stringify(name)).toBe('EINVAL');
      expect(folder.names()).toEqual([]);
    });
    expect(fs.readdirSync(parent).sort()).toEqual(['outside', 'root']);
  });

  it('restores modes and times', () => {
    withRoot(folder => {
      for (const mode of [0o000, 0o400, 0o644, 0o755, 0o1777]) put(folder, mode.toString(8), 'x', { mode });
      put(folder, 'setuid', 'x', { mode: 0o6755 });
      put(folder, 'old', 'x', { mtimeNs: -1_500_000_000n });
      folder.symlink('symlink', Buffer.from('x'), ATTRIBUTES);
      folder.finishFolder({ ...ATTRIBUTES, mode: 0o711 });
    });
    for (const mode of [0o000, 0o400, 0o644, 0o755, 0o1777]) {
      const stats = fs.statSync(join(root, mode.toString(8)));
      expect((stats.mode & 0o7777).toString(8)).toBe(mode.toString(8));
    }
    // Without the owner, the rights of the owner would be those of whoever copies.
    expect(fs.statSync(join(root, 'setuid')).mode & 0o7777).toBe(0o755);
    expect(fs.statSync(join(root, 'old'), { bigint: true }).mtimeNs).toBe(-1_500_000_000n);
    expect(fs.statSync(root).mode & 0o7777).toBe(0o711);
    for (const name of ['644', 'symlink', '.']) {
      const { mtimeNs } = fs.lstatSync(join(root, name), { bigint: true });
      if (hasKoffi) expect(mtimeNs).toBe(ATTRIBUTES.mtimeNs);
      else expect(Math.abs(Number(mtimeNs - ATTRIBUTES.mtimeNs))).toBeLessThan(1000);
    }
  });

  it.skipIf(!IS_ROOT)('restores owners, and set-id bits with them', () => {
    const attributes = { ...ATTRIBUTES, uid: 12345, gid: 54321, mode: 0o6755 };
    withRoot(folder => {
      const file = folder.createFile('file');
      file.finish({ attributes, sizeBytes: 0, owner: true });
      folder.symlink('symlink', Buffer.from('file'), attributes, { owner: true });
      const inner = folder.child('folder');
      inner.finishFolder(attributes, { owner: true });
      inner.close();
    });
    for (const name of ['file', 'symlink', 'folder']) {
      const stats = fs.lstatSync(join(root, name));
      expect([stats.uid, stats.gid]).toEqual([12345, 54321]);
      if (name !== 'symlink') expect(stats.mode & 0o7777).toBe(0o6755);
    }
  });

  it('leaves holes where nothing was written', async () => {
    const MiB = 1024 * 1024;
    const folder = local.TargetFolder.create(root);
    const file = folder.createFile('sparse');
    const shared = new Uint8Array(new SharedArrayBuffer(9 * MiB)).fill(7).subarray(1, 5 * MiB);
    await Promise.all([file.write(shared, 20 * MiB), file.write(new Uint8Array([1]), 8 * MiB)]);
    file.finish({ attributes: ATTRIBUTES, sizeBytes: 40 * MiB });
    // Shorter than what was written: cut.
    const cut = folder.createFile('cut');
    cut.writeSync(new Uint8Array(100), 0);
    cut.finish({ attributes: ATTRIBUTES, sizeBytes: 10 });
    folder.close();
    const { size, blocks } = fs.statSync(join(root, 'sparse'));
    expect(size).toBe(40 * MiB);
    expect(blocks * 512).toBeLessThan(6 * MiB);
    const expected = Buffer.alloc(40 * MiB);
    expected.set(shared, 20 * MiB);
    expected[8 * MiB] = 1;
    expect(Buffer.compare(fs.readFileSync(join(root, 'sparse')), expected)).toBe(0);
    expect(fs.statSync(join(root, 'cut')).size).toBe(10);
  });

  it('gives a file its name only when it is whole', async () => {
    const folder = local.TargetFolder.create(root);
    put(folder, 'a', 'old');
    const file = folder.createFile('a');
    file.writeSync(Buffer.from('new content'), 0);
    expect(fs.readFileSync(join(root, 'a'), 'utf8')).toBe('old');
    const partial = folder.names().find(name => name !== 'a')!;
    expect(fs.statSync(join(root, partial)).mode & 0o777).toBe(0o600);
    expect((await file.finishDurably({ attributes: ATTRIBUTES, sizeBytes: 3 })).keys).toEqual([]);
    await folder.sync();
    expect(fs.readFileSync(join(root, 'a'), 'utf8')).toBe('new');
    const dropped = folder.createFile('a');
    dropped.writeSync(Buffer.from('never'), 0);
    dropped.discard();
    dropped.discard();
    file.discard();
    expect(folder.names()).toEqual(['a']);
    expect(fs.readFileSync(join(root, 'a'), 'utf8')).toBe('new');
    expect(errorCodeOf(() => file.finish({ attributes: ATTRIBUTES, sizeBytes: 3 }))).toBe('ECLOSED');
    expect(errorCodeOf(() => dropped.writeSync(new Uint8Array(1), 0))).toBe('ECLOSED');
    folder.close();
  });

  it('writes nothing into the file that gets the descriptor of a dropped one', async () => {
    const folder = local.TargetFolder.create(root);
    const dropped = folder.createFile('dropped');
    const writing = dropped.write(new Uint8Array(30_000_000).fill(7), 0);
    dropped.discard();
    put(folder, 'next', 'mine');
    await expect(writing).rejects.toMatchObject({ code: 'ECLOSED' });
    expect(folder.names()).toEqual(['next']);
    expect(fs.readFileSync(join(root, 'next'), 'utf8')).toBe('mine');
    const file = folder.createFile('aborted');
    const stop = new AbortController();
    const aborted = file.write(new Uint8Array(30_000_000), 0, stop.signal);
    expect(errorCodeOf(() => file.finish({ attributes: ATTRIBUTES, sizeBytes: 1 }))).toBe('EBUG');
    stop.abort(new Error('enough'));
    await expect(aborted).rejects.toThrow();
    file.discard();
    expect(folder.names()).toEqual(['next']);
    folder.close();
  });

  it('replaces files and links, follows none, and never replaces a folder', () => {
    const victim = join(parent, 'victim');
    fs.writeFileSync(victim, 'untouched');
    withRoot(folder => {
      for (const name of ['file', 'symlink']) fs.symlinkSync(victim, join(root, name));
      put(folder, 'file', 'new');
      folder.symlink('symlink', Buffer.from('elsewhere'), ATTRIBUTES);
      fs.mkdirSync(join(root, 'folder'));
      fs.writeFileSync(join(root, 'folder/inside'), 'kept');
      fs.mkdirSync(join(root, 'empty'));
      for (const name of ['folder', 'empty']) {
        expect(errorCodeOf(() => put(folder, name, 'x'))).toBe('EISDIR');
        expect(errorCodeOf(() => folder.symlink(name, Buffer.from('x'), ATTRIBUTES))).toBe('EISDIR');
        expect(errorCodeOf(() => folder.link(name, folder, 'file'))).toBe('EISDIR');
        expect(errorCodeOf(() => folder.remove(name))).toBe('EISDIR');
      }
      expect(() => put(folder, 'folder', 'x')).toThrow(`remove ${root}/folder first`);
      expect(folder.existing('symlink')?.type).toBe('symlink');
      expect(folder.existing('none')).toBe(undefined);
      expect(folder.names()).toEqual(['empty', 'file', 'folder', 'symlink']);
    });
    expect(fs.lstatSync(join(root, 'file')).isFile()).toBe(true);
    expect(fs.readlinkSync(join(root, 'symlink'))).toBe('elsewhere');
    expect(fs.readFileSync(join(root, 'folder/inside'), 'utf8')).toBe('kept');
    expect(fs.readFileSync(victim, 'utf8')).toBe('untouched');
  });

  it('never replaces a pipe or a socket, also when it comes while the file is written', () => {
    withRoot(folder => {
      const begun = folder.createFile('late');
      for (const name of ['fifo', 'late']) {
        execFileSync('mkfifo', [join(root, name)]);
        expect(errorCodeOf(() => put(folder, name, 'x'))).toBe('EEXIST');
        expect(errorCodeOf(() => folder.symlink(name, Buffer.from('x'), ATTRIBUTES))).toBe('EEXIST');
        expect(errorCodeOf(() => folder.child(name))).toBe('ENOTDIR');
      }
      expect(errorCodeOf(() => begun.finish({ attributes: ATTRIBUTES, sizeBytes: 0 }))).toBe('EEXIST');
      put(folder, 'file', 'x');
      expect(errorCodeOf(() => folder.link('fifo', folder, 'file'))).toBe('EEXIST');
      expect(folder.names()).toEqual(['fifo', 'file', 'late']);
    });
    for (const name of ['fifo', 'late']) expect(fs.lstatSync(join(root, name)).isFIFO()).toBe(true);
  });

  it('is readable for nobody else while it is written', () => {
    withRoot(folder => {
      const file = folder.createFile('file');
      const [partial = ''] = fs.readdirSync(root);
      expect(fs.statSync(join(root, partial)).mode & 0o777).toBe(0o600);
      file.finish({ attributes: { ...ATTRIBUTES, mode: 0o644 }, sizeBytes: 0 });
    });
    expect(fs.statSync(join(root, 'file')).mode & 0o777).toBe(0o644);
  });

  it.runIf(IS_ROOT)(
    'keeps the owner of the file that it replaces, and gives it the mode that was asked for',
    () => {
      withRoot(folder => {
        for (const name of ['file', 'link']) put(folder, name, 'old');
        fs.chownSync(join(root, 'file'), 1234, 2345);
        fs.rmSync(join(root, 'link'));
        fs.symlinkSync('file', join(root, 'link'));
        fs.lchownSync(join(root, 'link'), 1234, 2345);
        for (const name of ['file', 'link']) put(folder, name, 'new', { mode: 0o604 });
        put(folder, 'new', 'new');
      });
      const rights = ['file', 'link', 'new'].map(name => {
        const { uid, gid, mode } = fs.lstatSync(join(root, name));
        return [name, uid, gid, mode & 0o777];
      });
      expect(rights).toEqual([
        ['file', 1234, 2345, 0o604],
        ['link', 0, 0, 0o604],
        ['new', 0, 0, 0o644],
      ]);
    },
  );

  it('makes links to anything', () => {
    const targets = ['\xff\n', '../../etc/passwd', '/', '-', 'x'.repeat(4095), '\\'];
    withRoot(folder => {
      for (const [at, target] of targets.entries())
        folder.symlink(`${at}`, Buffer.from(target, 'latin1'), ATTRIBUTES);
      for (const target of ['', 'a\0b'])
        expect(errorCodeOf(() => folder.symlink('x', Buffer.from(target), ATTRIBUTES))).toBe('EINVAL');
      expect(errorCodeOf(() => folder.symlink('x', Buffer.alloc(5000, 'x'), ATTRIBUTES))).toBe('EINVAL');
      expect(folder.names()).toHaveLength(targets.length);
    });
    for (const [at, target] of targets.entries())
      expect(fs.readlinkSync(join(root, `${at}`), 'latin1')).toBe(target);
  });

  it('makes second names', () => {
    withRoot(folder => {
      put(folder, 'a', 'content');
      const inner = folder.child('inner');
      put(inner, 'b', 'other');
      inner.link('b', folder, 'a');
      // Both are the same already: renaming alone would leave the temporary name.
      inner.link('b', folder, 'a');
      expect(inner.names()).toEqual(['b']);
      expect(errorCodeOf(() => inner.link('c', folder, 'none'))).toBe('ENOENT');
      // A link that somebody put there is not followed.
      fs.symlinkSync(join(parent, 'outside'), join(root, 'swapped'));
      inner.link('d', folder, 'swapped');
      expect(fs.lstatSync(join(root, 'inner', 'd')).isSymbolicLink()).toBe(true);
      // What a folder that was made just now holds, this run has put there.
      expect(inner.existing('d')).toBeUndefined();
      inner.close();
      expect(folder.existing('a')?.linkCount).toBe(2);
      const before = descriptorCount();
      const below = folder.child('x');
      below.child('y').close();
      below.close();
      const deep = folder.descend(['x', 'y']);
      const same = folder.descend([]);
      deep.link('e', same, 'a');
      deep.close();
      same.close();
      for (const names of [['x', 'none'], ['none']])
        expect(errorCodeOf(() => folder.descend(names))).toBe('ENOENT');
      for (const names of [['x', '..'], ['..']])
        expect(errorCodeOf(() => folder.descend(names))).toBe('EINVAL');
      expect(errorCodeOf(() => folder.descend(['swapped']))).toBe('ENOTDIR');
      expect(descriptorCount()).toBe(before);
    });
    expect(fs.statSync(join(root, 'x/y/e')).ino).toBe(fs.statSync(join(root, 'a')).ino);
    expect(fs.statSync(join(root, 'inner/b')).ino).toBe(fs.statSync(join(root, 'a')).ino);
  });

  it('fills folders that nobody may change, and gives them their mode', () => {
    fs.mkdirSync(root, { mode: 0o777 });
    fs.chmodSync(root, 0o777);
    asNobody(() => {
      withRoot(folder => {
        const made = folder.child('made');
        expect(made.stat.mode).toBe(0o700);
        put(made, 'file', 'x');
        made.finishFolder({ ...ATTRIBUTES, mode: 0o500 });
        made.close();
        const again = folder.child('made');
        put(again, 'more', 'x');
        again.close();
        expect(folder.existing('made')?.mode).toBe(0o500);
      });
    });
    expect(fs.readdirSync(join(root, 'made'))).toEqual(['file', 'more']);
    // So that whoever is not root can remove it.
    fs.chmodSync(join(root, 'made'), 0o700);
  });

  it('goes into real folders only', () => {
    withRoot(folder => {
      const before = descriptorCount();
      fs.symlinkSync(outside, join(root, 'symlink'));
      fs.writeFileSync(join(root, 'file'), '');
      execFileSync('mkfifo', [join(root, 'fifo')]);
      for (const name of ['symlink', 'file', 'fifo']) {
        expect(errorCodeOf(() => folder.child(name))).toBe('ENOTDIR');
        expect(errorCodeOf(() => folder.existingChild(name))).toBe('ENOTDIR');
      }
      expect(errorCodeOf(() => folder.existingChild('none'))).toBe('ENOENT');
      expect(descriptorCount()).toBe(before);
    });
    expect(errorCodeOf(() => local.TargetFolder.create(join(root, 'file')))).toBe('ENOTDIR');
    expect(errorCodeOf(() => local.TargetFolder.create(join(root, 'none/below')))).toBe('ENOENT');
    expect(errorCodeOf(() => local.TargetFolder.open(join(root, 'none')))).toBe('ENOENT');
    // What the user names may be a link.
    const named = local.TargetFolder.create(join(root, 'symlink'));
    expect(named.names()).toEqual([]);
    named.close();
  });

  it('stays in its folder when a link takes its place', () => {
    withRoot(folder => {
      const inner = folder.child('inner');
      const begun = inner.createFile('begun');
      fs.renameSync(join(root, 'inner'), join(root, 'moved'));
      fs.symlinkSync(outside, join(root, 'inner'));
      begun.finish({ attributes: ATTRIBUTES, sizeBytes: 0 });
      put(inner, 'file', 'x');
      inner.symlink('symlink', Buffer.from('x'), ATTRIBUTES);
      inner.link('second', inner, 'file');
      inner.child('below').close();
      inner.finishFolder({ ...ATTRIBUTES, mode: 0o755 });
      inner.close();
      expect(errorCodeOf(() => folder.child('inner'))).toBe('ENOTDIR');
    });
    expect(fs.readdirSync(join(root, 'moved')).sort()).toEqual([
      'begun',
      'below',
      'file',
      'second',
      'symlink',
    ]);
  });

  it('stays in its folders while another process swaps them for links', async () => {
    fs.mkdirSync(root);
    const script = `
      const fs = require('node:fs');
      const [root, outside] = process.argv.slice(1);
      process.stdout.write('.');
      for (let at = 0; ; at += 1) {
        try { fs.renameSync(root + '/inner', root + '/aside' + at); } catch {}
        try { fs.symlinkSync(outside, root + '/inner'); } catch {}
        try { fs.unlinkSync(root + '/inner'); } catch {}
      }`;
    const swapper = spawn(process.execPath, ['-e', script, root, outside], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    await once(swapper.stdout, 'data');
    const folder = local.TargetFolder.create(root);
    const seen = { written: 0, refused: 0 };
    try {
      for (const end = Date.now() + 700; Date.now() < end; ) {
        try {
          const inner = folder.child('inner');
          try {
            put(inner, 'file', 'x');
          } finally {
            inner.close();
          }
          seen.written += 1;
        } catch (error) {
          expect(['ENOTDIR', 'ENOENT']).toContain((error as { code?: string }).code);
          seen.refused += 1;
        }
      }
    } finally {
      swapper.kill('SIGKILL');
      folder.close();
    }
    // Otherwise there was no race.
    expect(seen.written).toBeGreaterThan(0);
    expect(seen.refused).toBeGreaterThan(0);
  });

  it('removes what earlier runs left, and nothing else', () => {
    const left = '.netseal-0123456789abcdef01234567.partial';
    const odd = ['.netseal-0123456789abcdef0123456.partial', `${left}~`, left.toUpperCase(), 'x.partial'];
    withRoot(folder => {
      for (const name of [left, ...odd]) fs.writeFileSync(join(root, name), '');
      const folderName = left.replace('0', 'f');
      fs.mkdirSync(join(root, folderName));
      const victim = join(parent, 'victim');
      fs.writeFileSync(victim, 'untouched');
      fs.symlinkSync(victim, join(root, left.replace('0', 'e')));
      const running = folder.createFile('file');
      expect(folder.removeLeftovers()).toBe(2);
      running.finish({ attributes: ATTRIBUTES, sizeBytes: 0 });
      expect(folder.names()).toEqual([...odd, folderName, 'file'].sort());
      expect(fs.readFileSync(victim, 'utf8')).toBe('untouched');
      expect(folder.removeLeftovers()).toBe(0);
    });
  });

  it('asks the file system what it folds, and cleans up', () => {
    withRoot(folder => {
      fs.writeFileSync(join(root, 'probe'), '');
      expect(folder.probeFolding()).toEqual({
        foldsCase: fs.existsSync(join(root, 'PROBE')),
        foldsForms: false,
        dropsDots: fs.existsSync(join(root, 'probe.')),
      });
      expect(folder.names()).toEqual(['probe']);
    });
  });

  it.skipIf(!IS_ROOT)('says what it may not write, and changes nothing', () => {
    fs.mkdirSync(root, { mode: 0o755 });
    fs.writeFileSync(join(root, 'file'), 'old');
    const folder = local.TargetFolder.open(root);
    asNobody(() => {
      expect(errorCodeOf(() => put(folder, 'file', 'new'))).toBe('EDENIED');
      expect(errorCodeOf(() => folder.child('folder'))).toBe('EDENIED');
      expect(errorCodeOf(() => folder.symlink('symlink', Buffer.from('x'), ATTRIBUTES))).toBe('EDENIED');
      expect(errorCodeOf(() => folder.probeFolding())).toBe('EDENIED');
    });
    expect(folder.names()).toEqual(['file']);
    expect(fs.readFileSync(join(root, 'file'), 'utf8')).toBe('old');
    // Not the owner: the whole file fails, nothing is left.
    fs.chmodSync(root, 0o777);
    asNobody(() => {
      const file = folder.createFile('mine');
      const attributes = { ...ATTRIBUTES, uid: 0, gid: 0 };
      expect(errorCodeOf(() => file.finish({ attributes, sizeBytes: 0, owner: true }))).toBe('EDENIED');
    });
    expect(folder.names()).toEqual(['file']);
    folder.close();
  });

  it.skipIf(!CAN_MOUNT)('fails as a whole on a full disk', async () => {
    mountSmall(root, '256k');
    try {
      const folder = local.TargetFolder.open(root);
      const before = descriptorCount();
      put(folder, 'file', 'old');
      for (const name of ['file', 'other']) {
        const file = folder.createFile(name);
        await expect(file.write(new Uint8Array(1_000_000), 0)).rejects.toMatchObject({ code: 'EFULL' });
        file.discard();
      }
      const large = folder.createFile('large');
      expect(errorCodeOf(() => large.writeSync(new Uint8Array(1_000_000), 0))).toBe('EFULL');
      large.discard();
      expect(descriptorCount()).toBe(before);
      expect(folder.names()).toEqual(['file']);
      expect(fs.readFileSync(join(root, 'file'), 'utf8')).toBe('old');
      folder.close();
    } finally {
      unmount(root);
    }
  });

  it.runIf(HAS_PYTHON)('restores the attributes of the user; says which it cannot', () => {
    const xattrs = [
      { key: 'security.selinux', value: Buffer.from('label') },
      { key: 'trusted.overlay.opaque', value: Buffer.from('y') },
      { key: 'user.eins', value: new Uint8Array() },
      { key: 'user.too much', value: new Uint8Array(100_000) },
      { key: 'user.zwei\xff', value: new Uint8Array(2000).fill(98) },
    ];
    let lost: readonly string[] = [];
    withRoot(folder => {
      const file = folder.createFile('file');
      lost = file.finish({ attributes: { ...ATTRIBUTES, mode: 0o400, xattrs }, sizeBytes: 0 }).keys;
    });
    const kept = ['user.eins', 'user.zwei\xff'];
    expect(lost).toEqual(xattrs.map(({ key }) => key).filter(key => !hasKoffi || !kept.includes(key)));
    const source = local.LocalFolder.open(root);
    expect(source.xattrs('file', neverLost).map(({ key, value }) => [key, value.length])).toEqual(
      hasKoffi
        ? [
            ['user.eins', 0],
            ['user.zwei\xff', 2000],
          ]
        : [],
    );
    source.close();
  });

  it('gives nobody more than an access list that is left out', () => {
    // Version 2; then owner rw-, user 1 rw-, group r--, mask rw-, others ---.
    const entries = [
      '01000600ffffffff',
      '0200060001000000',
      '04000400ffffffff',
      '10000600ffffffff',
      '20000000ffffffff',
    ];
    const list = Buffer.from(`02000000${entries.join('')}`, 'hex');
    const xattrs = [{ key: 'system.posix_acl_access', value: list }];
    withRoot(folder => {
      const file = folder.createFile('without');
      expect(file.finish({ attributes: { ...ATTRIBUTES, mode: 0o660, xattrs }, sizeBytes: 0 }).keys).toEqual(
        [],
      );
      expect(folder.existing('without')?.mode).toBe(0o640);
      const withList = folder.createFile('with');
      const attributes = { ...ATTRIBUTES, mode: 0o660, xattrs };
      const { keys: lost } = withList.finish({ attributes, sizeBytes: 0, owner: true });
      // Some file systems have no access lists.
      const source = local.LocalFolder.open(root);
      if (lost.length === 0)
        expect(source.xattrs('with', neverLost)).toEqual([{ ...xattrs[0], value: new Uint8Array(list) }]);
      expect(source.entry('with').mode).toBe(lost.length === 0 ? 0o660 : 0o640);
      source.close();
    });
  });

  it('holds one descriptor a folder', () => {
    const before = descriptorCount();
    withRoot(folder => {
      let deepest = folder;
      const opened: Folder[] = [];
      for (let depth = 0; depth < 20; depth += 1) {
        deepest = deepest.child('d');
        opened.push(deepest);
      }
      for (let at = 0; at < 50; at += 1) put(deepest, `${at}`, 'x');
      expect(descriptorCount()).toBe(before + 21);
      for (const each of opened) each.close();
    });
    expect(descriptorCount()).toBe(before);
  });
});
