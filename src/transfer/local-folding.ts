/** File systems on which different names count as the same: what they fold, and which names would collide. */
import { closeSync, constants } from 'node:fs';
import type { Name } from '../base/name.ts';
import { type FolderHandle, lookAt, openAt, statOf, unlinkAt } from './local-calls.ts';
import { partialName, textOfName } from './local-names.ts';

/** Which names a file system takes for the same. */
export interface FoldingRules {
  /** True when `A` and `a` are the same. */
  readonly foldsCase: boolean;
  /** True when Unicode's composed form (`é`) and decomposed form (`e`, then an accent) are the same. */
  readonly foldsForms: boolean;
  /** True when `a` and `a.` are the same. */
  readonly dropsDots: boolean;
}

const CREATE_FLAGS = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

/** Asks the file system, by making a file in this folder and removing it. Throws the system's errors. */
export function probeFolding(folder: FolderHandle): FoldingRules {
  const stem = partialName().replace(/\.partial$/, '');
  // The composed form of é. A file system that folds forms finds the file under the decomposed form as well.
  const composed = `${stem}-\xc3\xa9.partial`;
  const fd = openAt(folder, composed, CREATE_FLAGS, 0o600);
  try {
    const { inode } = statOf(fd);
    const leadsTo = (name: Name): boolean => lookAt(folder, name)?.inode === inode;
    return {
      foldsCase: leadsTo(composed.replace('.netseal', '.NETSEAL')),
      foldsForms: leadsTo(`${stem}-e\xcc\x81.partial`),
      dropsDots: leadsTo(`${composed}.`),
    };
  } finally {
    closeSync(fd);
    unlinkAt(folder, composed);
  }
}

/**
 * Returns the names that would replace an earlier one of the list, each with that earlier name. Begin the
 * list with the names that the folder has already. A name that comes twice is no collision.
 *
 * File systems differ in what they fold. In doubt two names count as colliding, because a file that is not
 * written is reported, and one that is replaced is lost.
 */
export function collisions(names: Iterable<Name>, rules: FoldingRules): Map<Name, Name> {
  const found = new Map<Name, Name>();
  const clashes = new NameClashes(rules);
  for (const name of names) {
    const first = clashes.add(name);
    if (first !== undefined) found.set(name, first);
  }
  return found;
}

/** Finds the {@link collisions} of names that come one by one. */
export class NameClashes {
  readonly #rules: FoldingRules;
  readonly #firstOfKey = new Map<string, Name>();

  /** @param existing the names that the folder has already. */
  constructor(rules: FoldingRules, existing: Iterable<Name> = []) {
    this.#rules = rules;
    for (const name of existing) this.add(name);
  }

  /** Returns the earlier name that this one would replace, if there is one. */
  add(name: Name): Name | undefined {
    if (!isFolding(this.#rules)) return undefined;
    const key = foldedKey(name, this.#rules);
    const first = this.#firstOfKey.get(key);
    if (first === undefined) this.#firstOfKey.set(key, name);
    return first === name ? undefined : first;
  }
}

/** True when the file system folds names at all. */
export function isFolding({ foldsCase, foldsForms, dropsDots }: FoldingRules): boolean {
  return foldsCase || foldsForms || dropsDots;
}

/** Returns a key that is equal for names that may collide. */
export function foldedKey(name: Name, { foldsCase, foldsForms, dropsDots }: FoldingRules): string {
  const kept = dropsDots ? name.replace(/\.+$/, '') : name;
  const text = textOfName(kept);
  // A name that is not UTF-8 must not get the key of one that is.
  if (text === undefined) return `\0${foldsCase ? asciiLower(kept) : kept}`;
  // File systems that fold forms ignore invisible characters (ext4, HFS+).
  const form = foldsForms ? text.normalize('NFD').replace(/\p{Default_Ignorable_Code_Point}/gu, '') : text;
  // Upper case first: several small letters have one capital.
  const folded = foldsCase ? form.toUpperCase().toLowerCase() : form;
  return foldsForms ? folded.normalize('NFD') : folded;
}

function asciiLower(name: Name): Name {
  return name.replace(/[A-Z]/g, letter => letter.toLowerCase());
}
