/** File systems where different names are one: which they are, and which names would meet there. */
import { closeSync, constants } from 'node:fs';
import type { Name } from '../base/name.ts';
import { type FolderHandle, lookAt, openAt, statOf, unlinkAt } from './local-calls.ts';
import { partialName, textOfName } from './local-names.ts';

/** What a file system takes for the same name. */
export interface FoldingRules {
  /** `A` and `a`. */
  readonly foldsCase: boolean;
  /** An accented letter and the letter with the accent behind it: Unicode's composed and decomposed forms. */
  readonly foldsForms: boolean;
  /** `a` and `a.` */
  readonly dropsDots: boolean;
}

const CREATE_FLAGS = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

/** Asks the file system, by a file in this folder that is gone afterwards. Throws the system's errors. */
export function probeFolding(folder: FolderHandle): FoldingRules {
  const stem = partialName().replace(/\.partial$/, '');
  // Composed here; a file system may answer to the decomposed form.
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
 * Which names would replace an earlier one of the list: later name to earlier name. Put the names first that
 * a folder has already; a name that comes twice is no collision. Where file systems differ in what they fold,
 * more names meet here than there: a file that is not written is reported, one that is replaced is lost.
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

/** {@link collisions} of names that come one after the other. */
export class NameClashes {
  readonly #rules: FoldingRules;
  readonly #firstOfKey = new Map<string, Name>();

  /** @param existing what a folder has already. */
  constructor(rules: FoldingRules, existing: Iterable<Name> = []) {
    this.#rules = rules;
    for (const name of existing) this.add(name);
  }

  /** The earlier name that this one would replace, if there is one. */
  add(name: Name): Name | undefined {
    if (!isFolding(this.#rules)) return undefined;
    const key = foldedKey(name, this.#rules);
    const first = this.#firstOfKey.get(key);
    if (first === undefined) this.#firstOfKey.set(key, name);
    return first === name ? undefined : first;
  }
}

/** Whether any two names are one. */
export function isFolding({ foldsCase, foldsForms, dropsDots }: FoldingRules): boolean {
  return foldsCase || foldsForms || dropsDots;
}

/** The same for names that may be one. */
function foldedKey(name: Name, { foldsCase, foldsForms, dropsDots }: FoldingRules): string {
  const kept = dropsDots ? name.replace(/\.+$/, '') : name;
  const text = textOfName(kept);
  // A key of bytes must not be that of a text.
  if (text === undefined) return `\0${foldsCase ? asciiLower(kept) : kept}`;
  // What cannot be seen is left out where forms are folded (ext4, HFS+).
  const form = foldsForms ? text.normalize('NFD').replace(/\p{Default_Ignorable_Code_Point}/gu, '') : text;
  // Upper case first: several small letters have one capital.
  const folded = foldsCase ? form.toUpperCase().toLowerCase() : form;
  return foldsForms ? folded.normalize('NFD') : folded;
}

function asciiLower(name: Name): Name {
  return name.replace(/[A-Z]/g, letter => letter.toLowerCase());
}
