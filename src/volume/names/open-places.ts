/**
 * The places of the files that this session has open, by their inodes. The session notes here what it renames
 * and removes. So an open file keeps its content under any name, and without one.
 */
import type { Id } from '../../base/ids.ts';
import type { Name } from '../../base/name.ts';
import type { DirectoryEntry, ObjectReference } from '../../server/sealed/inode.ts';
import type { Directory } from './directory.ts';
import { idOfEntry, typeOfEntry } from './references.ts';

interface Named {
  readonly directory: Directory;
  readonly name: Name;
}

/** Where an open file was last. */
export class OpenPlace implements Named {
  /** The id of its inode. */
  readonly id: Id;
  directory: Directory;
  name: Name;
  /** Leads to its object, once it is known to have one. Then its name does not matter any more. */
  object: ObjectReference | undefined;
  /** True when this session has removed its last name. */
  isRemoved = false;

  constructor({ directory, name }: Named, id: Id) {
    this.id = id;
    this.directory = directory;
    this.name = name;
  }

  /** Notes where the file is now. */
  moveTo({ directory, name }: Named): void {
    this.directory = directory;
    this.name = name;
  }
}

export class OpenPlaces {
  readonly #places = new Map<Id, { readonly place: OpenPlace; userCount: number }>();
  /** Changes of names that are under way. None of these promises rejects. */
  readonly #underWay = new Set<Promise<void>>();

  /** Follows a file that was just found at a place. End it with {@link close}. */
  open(at: Named, id: Id): OpenPlace {
    let known = this.#places.get(id);
    if (known === undefined) {
      known = { place: new OpenPlace(at, id), userCount: 0 };
      this.#places.set(id, known);
    } else {
      known.place.moveTo(at);
      known.place.isRemoved = false;
    }
    known.userCount += 1;
    return known.place;
  }

  /** Notes the place of a file, if it is open. */
  found({
    id,
    object,
    ...at
  }: Named & { readonly id: Id; readonly object?: ObjectReference | undefined }): void {
    const place = this.#places.get(id)?.place;
    if (place === undefined) return;
    place.moveTo(at);
    if (object !== undefined) place.object = object;
  }

  /** Returns where an open file is; undefined for one that is not open. */
  placeOf(id: Id): OpenPlace | undefined {
    return this.#places.get(id)?.place;
  }

  close({ id }: OpenPlace): void {
    const known = this.#places.get(id);
    if (known === undefined) return;
    known.userCount -= 1;
    if (known.userCount === 0) this.#places.delete(id);
  }

  /** True for the inode of a file that is open. */
  has(id: Id): boolean {
    return this.#places.has(id);
  }

  /** Takes note of a change of names that is under way. Returns its outcome. */
  async during<Result>(change: Promise<Result>): Promise<Result> {
    const ended = change.then(
      () => undefined,
      () => undefined,
    );
    this.#underWay.add(ended);
    try {
      return await change;
    } finally {
      this.#underWay.delete(ended);
    }
  }

  /** Waits for the changes of names that are under way now. */
  async settled(): Promise<void> {
    await Promise.all(this.#underWay);
  }

  /** Notes that this session has moved an entry from one place to another. */
  moved(entry: DirectoryEntry, source: Named, target: Named): void {
    const id = idOfEntry(entry);
    if (typeOfEntry(entry) === 'directory') {
      for (const { place } of this.#places.values()) moveFolder(place.directory, id, target);
      return;
    }
    const place = this.#places.get(id)?.place;
    if (place === undefined) return;
    // Another client may have made it an object, and renamed it: the place known here is then of no use.
    if (entry.node.kind === 'object') place.object = entry.node;
    // A file with several names keeps the others.
    const isThisName = place.directory.id === source.directory.id && place.name === source.name;
    if (entry.node.kind === 'embedded' || isThisName) place.moveTo(target);
  }

  /** Notes that an inode has an object by now. */
  becameObject(object: ObjectReference): void {
    const known = this.#places.get(object.id);
    if (known !== undefined) known.place.object = object;
  }

  /** Notes that this session has removed the last name of an inode. */
  removed(entry: DirectoryEntry): void {
    const known = this.#places.get(idOfEntry(entry));
    if (known !== undefined) known.place.isRemoved = true;
  }
}

/** Moves the embedded folder `id`, if it is on the way to `directory`. */
function moveFolder(directory: Directory, id: Id, target: Named): void {
  let at = directory;
  for (let above = at.embeddedIn; above !== undefined; above = at.embeddedIn) {
    if (at.id === id) {
      at.becomeEmbedded(target.directory, target.name);
      return;
    }
    at = above.parent;
  }
}
