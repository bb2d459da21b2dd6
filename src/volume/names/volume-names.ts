/**
 * The names of a volume as programs use them (`volume.names`): every argument is checked, then `Namespace`
 * does the work. netseal's own copies use `Namespace` itself (`volume.namespace`), because they check names
 * as they read them and make many thousands of calls.
 *
 *   - A name is given as its bytes, or as a {@link Name}: see {@link toGivenName}.
 *   - EINVAL for any argument that is not as described, ECLOSED after the volume was closed. Nothing is
 *     changed then.
 */
import {
  argumentError,
  requireBytes,
  requireCallback,
  requireFlag,
  requireInteger,
  requireIterable,
  requireList,
  requireObject,
} from '../../base/arguments.ts';
import type { NetsealError } from '../../base/errors.ts';
import { unitSizeToLog2 } from '../../base/geometry.ts';
import type { Id } from '../../base/ids.ts';
import type { Name } from '../../base/name.ts';
import type {
  Attributes,
  DeviceInode,
  DirectoryEntry,
  DirectoryInode,
  EntryNode,
  FileInode,
  Inode,
  LinkableInode,
  PipeInode,
  SymlinkInode,
} from '../../server/sealed/inode.ts';
import { DEVICE_NUMBER_MAX } from '../../server/sealed/inode-body.ts';
import type { Session } from '../session/session.ts';
import {
  requireChangeOptions,
  requireDirectory,
  requireEntry,
  requireId,
  requireLinkable,
  toGivenAttributes,
  toGivenName,
  toGivenPlace,
  toNewAttributes,
} from './argument-checks.ts';
import type { Directory } from './directory.ts';
import type { ChangeOptions } from './draft.ts';
import type { Namespace, NewName, PutOptions } from './namespace.ts';

/** A name as programs give it: its bytes, or a {@link Name}. */
export type GivenName = Name | Uint8Array;

/** A folder, and a name in it. */
export interface NamePlace {
  readonly directory: Directory;
  readonly name: GivenName;
}

export class VolumeNames {
  readonly #namespace: Namespace;
  readonly #session: Session;

  constructor(namespace: Namespace, session: Session) {
    this.#namespace = namespace;
    this.#session = session;
  }

  /** Returns the entry that a name leads to now; undefined when there is none. */
  async find(directory: Directory, name: GivenName): Promise<DirectoryEntry | undefined> {
    requireDirectory('directory', directory);
    const checked = toGivenName('name', name);
    this.#session.requireOpen();
    return await this.#namespace.find(directory, checked);
  }

  /** Yields the entries of a directory, ascending, many at a time; see `Namespace.entries`. */
  entries(directory: Directory): AsyncGenerator<readonly DirectoryEntry[]> {
    requireDirectory('directory', directory);
    this.#session.requireOpen();
    return this.#namespace.entries(directory);
  }

  /** Returns an inode for a new, empty file. Default unit size: the volume's. */
  newFile(attributes: Attributes, unitSizeBytes?: number): FileInode {
    if (unitSizeBytes !== undefined) unitSizeToLog2(unitSizeBytes);
    return this.#namespace.newFile(toNewAttributes('attributes', attributes), unitSizeBytes);
  }

  /** Returns an inode for a new symlink. `target` is copied: 1 to 4,095 bytes without NUL. */
  newSymlink(attributes: Attributes, target: Uint8Array): SymlinkInode {
    const checked = toNewAttributes('attributes', attributes);
    requireBytes('target', target);
    return this.#namespace.newSymlink(checked, target);
  }

  /** Returns an inode for a new FIFO or socket. It has no content: programs of one machine meet there. */
  newPipe(attributes: Attributes, type: PipeInode['type']): PipeInode {
    const checked = toNewAttributes('attributes', attributes);
    if (type !== 'fifo' && type !== 'socket') throw argumentError('type', "'fifo' or 'socket'", type);
    return this.#namespace.newPipe(checked, type);
  }

  /** Returns an inode for a new device. Its numbers are at most 2^32 - 1. */
  newDevice(attributes: Attributes, device: Pick<DeviceInode, 'type' | 'major' | 'minor'>): DeviceInode {
    const checked = toNewAttributes('attributes', attributes);
    requireObject('device', device);
    const { type, major, minor } = device;
    if (type !== 'characterDevice' && type !== 'blockDevice') {
      throw argumentError('device.type', "'characterDevice' or 'blockDevice'", type);
    }
    requireInteger('device.major', major, 0, DEVICE_NUMBER_MAX);
    requireInteger('device.minor', minor, 0, DEVICE_NUMBER_MAX);
    return this.#namespace.newDevice(checked, { type, major, minor });
  }

  /** Returns a new directory, in memory only. {@link insertDirectory} puts it into the store. */
  newDirectory(attributes: Attributes, parent: Id): Directory {
    const checked = toNewAttributes('attributes', attributes);
    requireId('parent', parent);
    this.#session.requireOpen();
    return this.#namespace.newDirectory(checked, parent);
  }

  /** Gives a name to something new that is no directory. EEXIST; EISDIR when a directory has the name. */
  async insert(
    directory: Directory,
    name: GivenName,
    inode: LinkableInode,
    options?: PutOptions,
  ): Promise<void> {
    requireDirectory('directory', directory);
    const checked = toGivenName('name', name);
    requireLinkable('inode', inode);
    requirePutOptions(options);
    this.#session.requireOpen();
    await this.#namespace.changing(directory, () =>
      this.#namespace.insert(directory, checked, inode, options),
    );
  }

  /** Gives a name to a new node. If the name leads to that node already, nothing is changed. */
  async insertNode(
    directory: Directory,
    name: GivenName,
    node: EntryNode,
    options?: PutOptions,
  ): Promise<void> {
    requireDirectory('directory', directory);
    const checked = toGivenName('name', name);
    requireEntry('entry', { name: checked, node });
    requirePutOptions(options);
    this.#session.requireOpen();
    await this.#namespace.changing(directory, () =>
      this.#namespace.insertNode(directory, checked, node, options),
    );
  }

  /**
   * Gives names to many new inodes, none of them a directory's, in one change; see `Namespace.insertMany`.
   */
  async insertMany(
    directory: Directory,
    items: readonly NewName[],
    options?: ChangeOptions & { readonly replace?: boolean | undefined },
  ): Promise<(NetsealError | undefined)[]> {
    requireDirectory('directory', directory);
    requireList('items', items);
    const checked = items.map((item, at): NewName => {
      requireObject(`items[${at}]`, item);
      requireLinkable(`items[${at}].inode`, item.inode);
      requireIterable(`items[${at}].segments`, item.segments);
      return { ...item, name: toGivenName(`items[${at}].name`, item.name) };
    });
    requireChangeOptions('options', options);
    this.#session.requireOpen();
    return await this.#namespace.changing(directory, () =>
      this.#namespace.insertMany(directory, checked, options),
    );
  }

  /** Puts a directory made by {@link newDirectory} into the store, and gives it a name. EEXIST. */
  async insertDirectory(
    parent: Directory,
    name: GivenName,
    child: Directory,
    options?: ChangeOptions,
  ): Promise<void> {
    requireDirectory('parent', parent);
    const checked = toGivenName('name', name);
    requireDirectory('child', child);
    requireChangeOptions('options', options);
    this.#session.requireOpen();
    await this.#namespace.changing(parent, () =>
      this.#namespace.insertDirectory(parent, checked, child, options),
    );
  }

  /** Removes a name of anything but a directory. ENOENT, EISDIR. */
  async unlink(directory: Directory, name: GivenName): Promise<void> {
    requireDirectory('directory', directory);
    const checked = toGivenName('name', name);
    this.#session.requireOpen();
    await this.#namespace.changing(directory, () => this.#namespace.unlink(directory, checked));
  }

  /** Removes an empty directory. ENOENT, ENOTDIR, ENOTEMPTY. */
  async rmdir(directory: Directory, name: GivenName): Promise<void> {
    requireDirectory('directory', directory);
    const checked = toGivenName('name', name);
    this.#session.requireOpen();
    await this.#namespace.changing(directory, () => this.#namespace.rmdir(directory, checked));
  }

  /** Gives a file another name. EEXIST, unless a file is to be replaced; EINVAL for a directory. */
  async link(source: NamePlace, directory: Directory, name: GivenName, options?: PutOptions): Promise<void> {
    const from = toGivenPlace('source', source);
    requireDirectory('directory', directory);
    const checked = toGivenName('name', name);
    requirePutOptions(options);
    this.#session.requireOpen();
    await this.#namespace.changing(directory, () => this.#namespace.link(from, directory, checked, options));
  }

  /**
   * Moves a name. It replaces a file or an empty directory, as in POSIX.
   *
   * Rejects with ENOENT, EISDIR, ENOTDIR, ENOTEMPTY; EINVAL when a folder would be moved into itself; EEXIST
   * if `replace` is false and the name is taken.
   */
  async rename(
    source: NamePlace,
    target: NamePlace,
    options: { readonly replace?: boolean } = {},
  ): Promise<void> {
    const from = toGivenPlace('source', source);
    const to = toGivenPlace('target', target);
    requireObject('options', options);
    requireFlag('options.replace', options.replace);
    this.#session.requireOpen();
    await this.#namespace.changing(from.directory, () =>
      this.#namespace.changing(to.directory, () => this.#namespace.rename(from, to, options)),
    );
  }

  /** Changes attributes of what an entry leads to. Returns its inode afterwards. Others stay as they are. */
  async setAttributes(
    directory: Directory,
    entry: DirectoryEntry,
    attributes: Partial<Attributes>,
  ): Promise<Inode> {
    requireDirectory('directory', directory);
    requireEntry('entry', entry);
    const checked = toGivenAttributes('attributes', attributes);
    this.#session.requireOpen();
    return await this.#namespace.setAttributes(directory, entry, checked);
  }

  /** Changes attributes of a directory, as {@link setAttributes} does. */
  async setDirectoryAttributes(
    directory: Directory,
    attributes: Partial<Attributes>,
  ): Promise<DirectoryInode> {
    requireDirectory('directory', directory);
    const checked = toGivenAttributes('attributes', attributes);
    this.#session.requireOpen();
    return await this.#namespace.setDirectoryAttributes(directory, checked);
  }
}

function requirePutOptions(options: PutOptions | undefined): void {
  requireChangeOptions('options', options);
  requireCallback('options.check', options?.check);
  const segments = options?.segments;
  if (segments === undefined) return;
  requireIterable('options.segments', segments);
  for (const segment of segments) {
    if (typeof segment !== 'string') throw argumentError('options.segments', 'ids', segment);
  }
}
