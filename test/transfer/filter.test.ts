/** Patterns in gitignore's syntax: what they leave out of a copy, and how they work together. */
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Name } from '../../src/base/name.ts';
import { CopyFilter, type FilterRules } from '../../src/transfer/filter.ts';
import { makeFolder, removeFolder } from './local-support.ts';

/** Folders end in `/`. Judges top down, as a copy does. */
function copied(rules: FilterRules, paths: readonly Name[]): Name[] {
  const filter = new CopyFilter(rules);
  const skipped: Name[] = [];
  return paths.filter(path => {
    if (skipped.some(folder => path.startsWith(folder))) return false;
    const isFolder = path.endsWith('/');
    const verdict = filter.judge(isFolder ? path.slice(0, -1) : path, isFolder);
    if (verdict === 'skip' && isFolder) skipped.push(path);
    return verdict === 'copy';
  });
}

const TREE = ['a.log', 'a.txt', 'sub/', 'sub/a.log', 'sub/a.txt', 'sub/keep.log', 'tmp/', 'tmp/x.txt'];

describe('a filter', () => {
  it.each<{ rules: FilterRules; left: Name[] }>([
    { rules: {}, left: TREE },
    { rules: { exclude: ['*.log'] }, left: ['a.txt', 'sub/', 'sub/a.txt', 'tmp/', 'tmp/x.txt'] },
    {
      rules: { exclude: ['/*.log', 'tmp/'] },
      left: ['a.txt', 'sub/', 'sub/a.log', 'sub/a.txt', 'sub/keep.log'],
    },
    {
      rules: { exclude: ['*.log', '!keep.log', 'tmp'] },
      left: ['a.txt', 'sub/', 'sub/a.txt', 'sub/keep.log'],
    },
    { rules: { exclude: ['tmp', '!tmp/x.txt', 'sub'] }, left: ['a.log', 'a.txt'] },
    { rules: { include: ['*.txt'] }, left: ['a.txt', 'sub/a.txt', 'tmp/x.txt'] },
    { rules: { include: ['sub/'] }, left: ['sub/', 'sub/a.log', 'sub/a.txt', 'sub/keep.log'] },
    { rules: { include: ['*.txt'], exclude: ['/tmp/'] }, left: ['a.txt', 'sub/a.txt'] },
    {
      rules: { excludeFrom: ['# a comment\r\n\n*.log\ntmp/\n'], exclude: ['!keep.log'] },
      left: ['a.txt', 'sub/', 'sub/a.txt', 'sub/keep.log'],
    },
  ])('$rules', ({ rules, left }) => {
    expect(copied(rules, TREE)).toEqual(left);
  });

  it('tells folders to look into from those to skip', () => {
    const filter = new CopyFilter({ include: ['*.txt'], exclude: ['tmp/'] });
    expect(filter.judge('sub', true)).toBe('look');
    expect(filter.judge('tmp', true)).toBe('skip');
    expect(filter.judge('tmp', false)).toBe('skip');
  });

  it('compares bytes: case counts, and names need not be UTF-8', () => {
    const umlaut = Buffer.from('ä').toString('latin1');
    const paths = ['A', umlaut, '\xe4', `${umlaut}\xa0`, '..x'];
    expect(copied({ exclude: ['a', 'ä'] }, paths)).toEqual(['A', '\xe4', `${umlaut}\xa0`, '..x']);
    expect(copied({ excludeFrom: [Buffer.from('\xe4\n', 'latin1')] }, paths)).toEqual(
      paths.filter(path => path !== '\xe4'),
    );
    expect(copied({ excludeFrom: ['\ufeffä\n'] }, paths)).not.toContain(umlaut);
  });

  it('takes no white space off the end of a name but the space: à ends in the byte of a no-break space', () => {
    const name = Buffer.from('à').toString('latin1');
    expect(copied({ exclude: ['à'] }, [name, '\xc3'])).toEqual(['\xc3']);
    expect(copied({ excludeFrom: ['à\n'] }, [name, '\xc3'])).toEqual(['\xc3']);
  });

  it('refuses an empty pattern', () => {
    expect(() => new CopyFilter({ exclude: [''] })).toThrow(/a pattern is empty/);
  });

  it('judges many paths the same as the first', () => {
    const filter = new CopyFilter({ exclude: ['*.log', '!7.log'] });
    for (let at = 0; at < 30_000; at += 1) {
      expect(filter.judge(`${at}.log`, false)).toBe(at === 7 ? 'copy' : 'skip');
    }
  });

  it.runIf(hasGit())('agrees with git', () => {
    const folder = makeFolder();
    const lines = [
      '*.log',
      '!important.log',
      '/root-only',
      'a/**/z',
      'f?o',
      '[x-z]*',
      'dir/',
      '\\#hash',
      'sp\\ ',
    ];
    const names = [
      'x',
      'foo',
      'f/o',
      'root-only',
      'sub/root-only',
      'a/z',
      'a/b/c/z',
      '#hash',
      'sp ',
      'important.log',
    ];
    const paths = [...names, 'sub/yes', 'a.log', 'dir/in', 'sub/dir/in', 'no/important.log', 'dir2/in', 'fo'];
    execFileSync('git', ['init', '-q', folder]);
    fs.writeFileSync(join(folder, '.gitignore'), `${lines.join('\n')}\n`);
    const answer = execFileSync('git', ['check-ignore', '--no-index', '--stdin', '-z'], {
      cwd: folder,
      input: paths.join('\0'),
      encoding: 'utf8',
    });
    const ignored = answer.split('\0').filter(path => path !== '');
    const filter = new CopyFilter({ excludeFrom: [lines.join('\n')] });
    expect(paths.filter(path => filter.judge(path, false) === 'skip').sort()).toEqual(ignored.sort());
    removeFolder(folder);
  });
});

function hasGit(): boolean {
  try {
    execFileSync('git', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
