/**
 * Decides what of a tree is copied, by patterns in gitignore's syntax. `put` and `get` use it.
 *
 * - Paths are relative to the folder that is copied. A source that is named on its own is judged by its name.
 * - Without `include`, everything is copied that is not excluded. With it, only what matches, and everything
 *   below a folder that matches.
 * - What is excluded stays out, whatever `include` says. A later pattern that begins with `!` takes an
 *   exclusion back, but not below a folder that is excluded.
 * - As in git, patterns and names are compared byte by byte: `?` is one byte, and case counts.
 */
import ignore, { type Ignore } from 'ignore';
import { requireArgument } from '../base/errors.ts';
import type { Name } from '../base/name.ts';
import { toBytesName } from '../volume/names/name-checks.ts';

export interface FilterRules {
  /** One pattern each. */
  readonly include?: readonly string[] | undefined;
  /** One pattern each. They come after those of `excludeFrom`, so they may take them back. */
  readonly exclude?: readonly string[] | undefined;
  /** Texts with a pattern a line, as a file `.gitignore` has them. */
  readonly excludeFrom?: readonly (string | Uint8Array)[] | undefined;
}

/**
 * - `copy`: it belongs to the copy.
 * - `look`: this folder does not, but something in it may. It is copied if anything in it is.
 * - `skip`: neither it nor anything below it is copied.
 */
export type Verdict = 'copy' | 'look' | 'skip';

export class CopyFilter {
  readonly #include: Patterns | undefined;
  readonly #exclude: Patterns;

  /** EINVAL for an empty pattern. */
  constructor({ include = [], exclude = [], excludeFrom = [] }: FilterRules = {}) {
    this.#include = include.length === 0 ? undefined : new Patterns(include.map(onePattern));
    this.#exclude = new Patterns([...excludeFrom.map(manyPatterns), ...exclude.map(onePattern)]);
  }

  /** Judges a path below the folder that is copied: names with `/` between them. */
  judge(path: Name, isFolder: boolean): Verdict {
    const tested = isFolder ? `${path}/` : path;
    if (this.#exclude.match(tested)) return 'skip';
    if (this.#include === undefined || this.#include.match(tested)) return 'copy';
    return isFolder ? 'look' : 'skip';
  }
}

/** The library remembers each path that it was asked for. After so many it starts afresh. */
const ASKED_MAX = 10_000;

class Patterns {
  /** Each a list of patterns, or a text of lines. */
  readonly #lists: readonly (string | readonly string[])[];
  #matcher: Ignore;
  #askedCount = 0;

  constructor(lists: readonly (string | readonly string[])[]) {
    this.#lists = lists;
    this.#matcher = this.#build();
  }

  match(path: string): boolean {
    if (this.#lists.length === 0) return false;
    this.#askedCount += 1;
    if (this.#askedCount % ASKED_MAX === 0) this.#matcher = this.#build();
    return this.#matcher.ignores(path);
  }

  #build(): Ignore {
    const matcher = ignore({ ignorecase: false, allowRelativePaths: true });
    for (const list of this.#lists) matcher.add(list);
    return matcher;
  }
}

function onePattern(pattern: string): readonly string[] {
  requireArgument(pattern.trim() !== '', 'a pattern is empty: write what to match');
  return [toBytesName(pattern)];
}

const UTF8_BOM = '\xef\xbb\xbf';

function manyPatterns(text: string | Uint8Array): string {
  const bytes = toBytesName(text);
  return bytes.startsWith(UTF8_BOM) ? bytes.slice(UTF8_BOM.length) : bytes;
}
