/** Names of local files: shown, checked, and which of them meet on a file system that folds. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { collisions, type FoldingRules } from '../../src/transfer/local-folding.ts';
import {
  checkTargetName,
  isComponent,
  isPartialName,
  partialName,
  showName,
} from '../../src/transfer/local-names.ts';
import { nameBytes, toBytesName } from '../../src/volume/names/name-checks.ts';
import { errorCodeOf } from '../support/errors.ts';
import { checkProperty } from '../support/property.ts';

const bytes = fc.uint8Array({ maxLength: 12 });
/** Bytes and texts that are close to each other. */
const names = fc.oneof(
  bytes.map(toBytesName),
  fc.string({ unit: 'binary', maxLength: 6 }).map(toBytesName),
  fc.string({ unit: fc.constantFrom('\\', 'x', '0', 'a', '\x0a', '\xc3', '\xa9', '\xff'), maxLength: 6 }),
);

/** What `showName` wrote, back as bytes. */
function unshown(shown: string): string {
  const parts = shown.matchAll(/\\x([0-9a-f]{2})|\\(\\)|([^\\]+)/g);
  return [...parts]
    .map(([, hex, backslash, text]) =>
      hex !== undefined ? String.fromCharCode(Number.parseInt(hex, 16)) : (backslash ?? toBytesName(text!)),
    )
    .join('');
}

describe('names in messages', () => {
  it('are text where they can be', () => {
    expect(showName(toBytesName('naïve 日本.txt'))).toBe('naïve 日本.txt');
    expect(showName('a\nb\tc\x1b[31m')).toBe('a\\x0ab\\x09c\\x1b[31m');
    expect(showName(toBytesName('a\\x0a'))).toBe('a\\\\x0a');
    expect(showName('caf\xe9.txt')).toBe('caf\\xe9.txt');
    expect(showName('\xc3\xa9\xc3')).toBe('é\\xc3');
    // A name that would be read from right to left, a blank that looks like another, a mark of byte order.
    expect(showName(toBytesName('a\u202eb\u00a0c\ufeff'))).toBe(
      'a\\xe2\\x80\\xaeb\\xc2\\xa0c\\xef\\xbb\\xbf',
    );
    // Overlong, a surrogate, beyond Unicode.
    expect(showName('\xc0\xaf \xed\xa0\x80 \xf4\x90\x80\x80')).toBe(
      '\\xc0\\xaf \\xed\\xa0\\x80 \\xf4\\x90\\x80\\x80',
    );
  });

  it('tell the bytes, and print in one line', () => {
    checkProperty(names, name => {
      const shown = showName(name);
      expect(unshown(shown)).toBe(name);
      expect(shown).not.toMatch(/\p{C}/u);
    });
  });

  it('are the bytes that they were', () => {
    checkProperty(bytes, value => {
      expect([...nameBytes(toBytesName(value))]).toEqual([...value]);
    });
  });
});

describe('names that may be written', () => {
  it('are one component', () => {
    for (const name of [
      'a',
      '...',
      '-rf',
      ' ',
      'a\nb',
      '\xff\xfe',
      '\\',
      'x'.repeat(255),
      '.netseal-x.partial',
    ])
      expect(() => checkTargetName(name)).not.toThrow();
    for (const name of ['', '.', '..', '/', 'a/b', '../a', 'a\0', '\0', 'x'.repeat(256), partialName()])
      expect(errorCodeOf(() => checkTargetName(name))).toBe('EINVAL');
  });

  it('have no characters that lose their high half', () => {
    // U+012F would become a slash, U+0100 a zero byte.
    for (const name of ['a\u012fb', 'a\u0100', '\u2e2e']) expect(isComponent(name)).toBe(false);
  });

  it('are named by the error, readably', () => {
    expect(() => checkTargetName('..\x1b/')).toThrow("'..\\x1b/'");
  });

  it('are not those of unfinished files, each of which is new', () => {
    const partials = Array.from({ length: 1000 }, partialName);
    expect(new Set(partials).size).toBe(1000);
    expect(partials.every(isPartialName)).toBe(true);
    for (const name of ['.netseal-.partial', `${partials[0]}x`, `x${partials[0]}`, `${partials[0]}\n`])
      expect(isPartialName(name)).toBe(false);
  });
});

describe('names that meet', () => {
  const none: FoldingRules = { foldsCase: false, foldsForms: false, dropsDots: false };
  function found(list: readonly string[], rules: Partial<FoldingRules>): [string, string][] {
    return [...collisions(list.map(toBytesName), { ...none, ...rules })].map(([later, first]) => [
      nameBytes(later).toString(),
      nameBytes(first).toString(),
    ]);
  }

  it('do not where nothing is folded', () => {
    expect(found(['a', 'A', 'é', 'e\u0301', 'a.'], {})).toEqual([]);
  });

  it('do by case, whichever comes first', () => {
    expect(found(['Readme', 'b', 'README', 'readme'], { foldsCase: true })).toEqual([
      ['README', 'Readme'],
      ['readme', 'Readme'],
    ]);
    expect(found(['ÉTÉ', 'été'], { foldsCase: true })).toEqual([['été', 'ÉTÉ']]);
    expect(found(['STRASSE', 'straße'], { foldsCase: true })).toEqual([['straße', 'STRASSE']]);
    expect(found(['ΟΔΟΣ', 'οδος', 'οδοσ'], { foldsCase: true })).toHaveLength(2);
    expect(found(['a', 'A'], { foldsForms: true })).toEqual([]);
  });

  it('do by form, whichever comes first', () => {
    const composed = 'caf\u00e9';
    const decomposed = 'cafe\u0301';
    expect(found([composed, decomposed], { foldsForms: true })).toEqual([[decomposed, composed]]);
    expect(found([decomposed, composed], { foldsForms: true })).toEqual([[composed, decomposed]]);
    expect(found([composed, decomposed], { foldsCase: true })).toEqual([]);
    const both = { foldsCase: true, foldsForms: true };
    expect(found([composed.toUpperCase(), decomposed], both)).toEqual([[decomposed, composed.toUpperCase()]]);
    expect(found(['a\u200db', 'ab'], { foldsForms: true })).toEqual([['ab', 'a\u200db']]);
  });

  it('do by dots at the end', () => {
    expect(found(['a', 'a..', 'a.b'], { dropsDots: true })).toEqual([['a..', 'a']]);
  });

  it('do as bytes when they are no text', () => {
    const rules = { ...none, foldsCase: true };
    expect([...collisions(['\xffA', '\xffa', '\xe9', '\xc9'], rules)]).toEqual([['\xffa', '\xffA']]);
  });

  it('are no collision when they are the same', () => {
    expect(found(['a', 'a', 'A', 'a'], { foldsCase: true })).toEqual([['A', 'a']]);
  });
});
