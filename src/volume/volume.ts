/** An open volume: paths in, files and folders out. It joins the parts and decides nothing itself. */
import {
  requireFlag,
  requireInteger,
  requireIterable,
  requireList,
  requireObject,
  requireOptions,
  requireSignal,
} from '../base/arguments.ts';
import { NetsealError, requireArgument } from '../base/errors.ts';
import { type Id, idBytes, randomId } from '../base/ids.ts';
import type { Name } from '../base/name.ts';
import { ControlSealer } from '../server/sealed/control.ts';
import { requireChangeable } from '../server/sealed/extensions.ts';
import type { Attributes, DirectoryEntry, FileInode, Inode } from '../server/sealed/inode.ts';
import { NodeCache } from '../server/sealed/node-cache.ts';
import { OpenedPacks } from '../server/sealed/opened-packs.ts';
import type { Sealing } from '../server/sealed/sealing.ts';
import { SegmentWriter } from '../server/sealed/segment-writer.ts';
import { withKeyScheme } from '../server/sealed/spread-keys.ts';
import { UnitWriter } from '../server/sealed/unit-writer.ts';
import { ContentUpload } from './content/content-upload.ts';
import { type FileCommitParts, FileCommits, type NewFileOptions } from './content/file-commits.ts';
import { FileReader } from './content/file-reader.ts';
import { FileWriter } from './content/file-writer.ts';
import { readSmallFiles, type SmallContents } from './content/small-files.ts';
import { SmallUpload } from './content/small-upload.ts';
import type { OpenFlags } from './file-flags.ts';
import type { VolumeFile } from './fs/volume-file.ts';
import { VolumeFs } from './fs/volume-fs.ts';
import { History } from './history/history.ts';
import { requireDirectory, requireEntry, requireFileInode, requireId } from './names/argument-checks.ts';
import type { Directory } from './names/directory.ts';
import type { FilePlace } from './names/file-place.ts';
import { Inodes } from './names/inodes.ts';
import { Moves } from './names/moves.ts';
import { endsInFolder, parsePath } from './names/name-checks.ts';
import { Namespace } from './names/namespace.ts';
import {
  type Found,
  PathWalk,
  type Place,
  type PlaceOptions,
  type ResolveOptions,
} from './names/path-walk.ts';
import { keyOfReference } from './names/references.ts';
import { VolumeNames } from './names/volume-names.ts';
import { newAttributes } from './new-attributes.ts';
import { SealedServer } from './serving/sealed-server.ts';
import { CacheBypass } from './session/cache-bypass.ts';
import { CachedContent } from './session/cached-content.ts';
import { CachedNodes } from './session/cached-nodes.ts';
import { FreshObjects } from './session/fresh-objects.ts';
import { OpenFiles } from './session/open-files.ts';
import { ReadBudget } from './session/read-budget.ts';
import type { Session } from './session/session.ts';
import { decodeSettings, requireWritable, type VolumeSettings } from './session/volume-settings.ts';
import { WriteTimes } from './session/write-times.ts';
import type { ClientState } from './state/client-state.ts';
import { GetJournal, type GetSource, type GetTarget, type OpenedGetJournal } from './state/get-journal.ts';
import {
  type JournalSource,
  type JournalTarget,
  type OpenedJournal,
  PutJournal,
} from './state/put-journal.ts';
import { type OpenPathOptions, VolumeFiles } from './volume-files.ts';
import {
  checkOpenOptions,
  FRESH_MS_DEFAULT,
  GRACE_MS_DEFAULT,
  type OpenVolumeOptions,
  PAGE_BYTES_DEFAULT,
  segmentBytesFor,
} from './volume-options.ts';
import { statusOf, type VolumeInspection, type VolumeStatus } from './volume-status.ts';

/** A folder of this machine that netseal itself uses. */
export interface OwnFolder {
  readonly path: string;
  /** What it holds, for messages. */
  readonly what: string;
}

export class Volume {
  readonly settings: VolumeSettings;
  readonly session: Session;
  readonly inodes: Inodes;
  readonly moves: Moves;
  /** The operations on names, for programs. */
  readonly names: VolumeNames;
  /** The volume in the shape of `node:fs/promises`. */
  readonly fs: VolumeFs;
  /** @internal Like `names`, without checks of arguments: for netseal's own copies. */
  readonly namespace: Namespace;
  /** @internal The files of this volume, for netfs. */
  readonly server: SealedServer;
  readonly #files: VolumeFiles;
  readonly #paths: PathWalk;
  readonly #control: ControlSealer;
  readonly #state: ClientState;
  readonly #history: History;
  readonly #onClosed: (() => Promise<void>) | undefined;
  readonly #background = new Set<Promise<void>>();
  /** True from the call of {@link close}: nothing new is begun. */
  #isClosed = false;
  /** True once everything was written that had to be: nothing works any more. */
  #isEnded = false;

  /**
   * Starts a session. It reads nothing yet, except for the heads of other clients if those are due.
   *
   * Rejects with EUNSUPPORTED when the store has no atomic conditions: clients could undo each other's work
   * there.
   */
  static async open(options: OpenVolumeOptions): Promise<Volume> {
    checkOpenOptions(options);
    const { store, header } = options;
    const { createIfAbsent, replaceIfMatch, atomicPut } = store.capabilities;
    if (createIfAbsent !== 'atomic' || replaceIfMatch !== 'atomic' || !atomicPut) {
      throw new NetsealError(
        'EUNSUPPORTED',
        `${store.name} has no atomic conditions: no volume can live there`,
      );
    }
    const settings = decodeSettings(header.settings);
    const { suite, codec } = settings;
    const control = await ControlSealer.create(header.keyring, {
      suite,
      codec,
      providers: options.providers,
    });
    return new Volume(options, settings, control);
  }

  private constructor(options: OpenVolumeOptions, settings: VolumeSettings, control: ControlSealer) {
    const { pipeline, header, state, nowMs = Date.now } = options;
    const { suite, codec, padding } = settings;
    const store = withKeyScheme(options.store, settings.keys);
    const keys = pipeline.addKeyring(header.keyring);
    const packs = new OpenedPacks();
    const cache = options.cache?.volume(idBytes(header.volumeId));
    const cacheBypass = cache && new CacheBypass();
    const sealing: Sealing = {
      store,
      pipeline,
      keys,
      control,
      suite,
      codec,
      padding,
      packs,
      nodes: cache && cacheBypass && new CachedNodes(cache, cacheBypass),
      content: cache && cacheBypass && new CachedContent(cache, cacheBypass),
    };
    const segmentSettings = { ...options, segmentBytes: options.segmentBytes ?? segmentBytesFor(pipeline) };
    const dataSegments = new SegmentWriter(sealing, segmentSettings);
    this.settings = settings;
    this.#control = control;
    this.#state = state;
    this.#onClosed = options.onClosed;
    this.#history = new History(options);
    this.session = {
      id: randomId(),
      settings,
      sealing,
      state,
      marks: state.marks,
      history: this.#history,
      openFiles: new OpenFiles(),
      dataSegments,
      nodeSegments: new SegmentWriter(sealing, segmentSettings),
      units: new UnitWriter(sealing, dataSegments),
      nameNodes: new NodeCache(),
      mapNodes: new NodeCache(),
      cache,
      cacheBypass,
      readBudget: new ReadBudget(0.75 * pipeline.slabBytes),
      fresh: new FreshObjects(),
      writes: new WriteTimes(),
      nowMs,
      freshMs: options.freshMs ?? FRESH_MS_DEFAULT,
      graceMs: options.graceMs ?? GRACE_MS_DEFAULT,
      requireOpen: () => {
        if (this.#isEnded) throw new NetsealError('ECLOSED', 'the volume is closed');
      },
    };
    this.inodes = new Inodes(this.session);
    this.moves = new Moves(this.inodes);
    this.namespace = new Namespace(this.session, this.inodes, this.moves);
    this.names = new VolumeNames(this.namespace, this.session);
    this.server = new SealedServer(this.#commitParts);
    this.#paths = new PathWalk(this.inodes, this.namespace, settings.rootId);
    this.#files = this.#newFiles(options);
    this.fs = this.#newFs();
    this.#history.start(this.session, this.inodes);
  }

  get root(): Directory {
    return this.inodes.directory(this.settings.rootId);
  }

  /**
   * Returns what a path leads to. ENOENT, ENOTDIR (also when the path ends in `/` and leads to no folder),
   * EINVAL (too many symlinks), and what reading throws.
   */
  async find(path: string | Uint8Array, options: ResolveOptions = {}): Promise<Found> {
    const names = parsePath(path);
    const follow = followOf(options, false);
    this.#requireOpen();
    return await this.#paths.find(names, { follow, needsFolder: endsInFolder(path) });
  }

  /**
   * Returns the folder that the last name of a path belongs in, and that name. EINVAL for the root. When the
   * path ends in `/`: ENOTDIR unless the name is a folder's, also when it is that of a symlink; ENOENT when
   * nothing has the name, unless it is `forFolder`.
   */
  async place(path: string | Uint8Array, options: PlaceOptions = {}): Promise<Place> {
    requireObject('options', options);
    const { forFolder = false, follow = false } = options;
    requireFlag('options.forFolder', forFolder);
    requireFlag('options.follow', follow);
    const names = parsePath(path);
    const name = names.pop();
    requireArgument(name !== undefined, 'this is the root of the volume: name something in it');
    this.#requireOpen();
    return await this.#paths.place(names, name, { forFolder, follow, needsFolder: endsInFolder(path) });
  }

  /** Returns the inode that an entry leads to. Throws what reading it throws. */
  async inodeOf(entry: DirectoryEntry): Promise<Inode> {
    requireEntry('entry', entry);
    return await this.inodes.inodeOf(entry);
  }

  /**
   * Returns the folder that an entry leads to, without reading it. ENOTDIR for an entry that leads to
   * anything else.
   *
   * @param parent the folder that has the entry.
   */
  directoryOf(parent: Directory, entry: DirectoryEntry): Directory {
    requireDirectory('parent', parent);
    requireEntry('entry', entry);
    this.#requireOpen();
    return this.inodes.directoryOf(parent, entry);
  }

  /** Returns the folder that a path was found to lead to. ENOTDIR for anything else. */
  foundDirectory(found: Omit<Found, 'names'>): Directory {
    requireObject('found', found);
    requireObject('found.inode', found.inode);
    this.#requireOpen();
    return this.#paths.directoryOf(found);
  }

  /**
   * Returns the folder that a path leads to. Rejects as {@link find} does; ENOTDIR for anything but a folder.
   */
  async directory(path: string | Uint8Array): Promise<Directory> {
    return this.#paths.directoryOf(await this.find(path, { follow: true }));
  }

  /**
   * Opens a file to read and write anywhere in it. What is written is kept in memory, sealed and uploaded in
   * the background, and committed by `sync`, by `close`, and after 5 s: see docs/NETFS.md. A new file is
   * found by its name at once in this session, and by others after its first commit. With flag `x`, others
   * find it as soon as this resolves.
   *
   * Rejects as {@link find} and {@link place} do; with EEXIST (flags with `x`), EISDIR, EINVAL (no regular
   * file, unknown flags, or units that do not fit into the pipeline's memory), EUNSUPPORTED (only a newer
   * netseal may change it).
   *
   * @param flags as Node's `fs.open` has them, as text or as a number. Default `r`.
   * @param mode of a file that is made. Default 0o644.
   */
  async open(
    path: string | Uint8Array,
    flags: OpenFlags | number = 'r',
    mode?: number,
    options?: OpenPathOptions,
  ): Promise<VolumeFile> {
    this.#requireOpen();
    return await this.#files.open(path, flags, mode, options);
  }

  /** Opens the present version of a file for reading. EISDIR; EINVAL for a symlink that is not followed. */
  async openFile(path: string | Uint8Array, options: ResolveOptions = {}): Promise<FileReader> {
    const found = await this.find(path, { follow: followOf(options, true) });
    return this.reader(requireFile(found.inode), found);
  }

  /** Opens a file for reading whose inode was read already. */
  reader(inode: FileInode, found: Pick<Found, 'parent' | 'entry'>): FileReader {
    requireFileInode('inode', inode);
    requireObject('found', found);
    this.#requireOpen();
    const { parent, entry } = found;
    return new FileReader(this.session, inode, async () => {
      if (parent === undefined || entry === undefined) return inode;
      const now = await parent.find(entry.name, 0);
      if (now === undefined) return inode;
      const current =
        now.node.kind === 'embedded'
          ? now.node.inode
          : await this.inodes.get(keyOfReference(now.node)).read(0);
      return current.type === 'file' && current.id === inode.id ? current : inode;
    });
  }

  /**
   * Opens a new file for writing. Its name appears with the first commit, in one step with its content. That
   * commit rejects with EISDIR if a folder has the name, and with EEXIST if a file has it and `replace` is
   * not set.
   */
  async createFile(
    path: string | Uint8Array,
    attributes: Attributes,
    options: { readonly replace?: boolean; readonly unitSizeBytes?: number } = {},
  ): Promise<FileWriter> {
    requireObject('options', options);
    requireFlag('options.replace', options.replace);
    const inode = this.names.newFile(attributes, options.unitSizeBytes);
    const place = await this.place(path);
    return this.writer(inode, { ...place, id: inode.id }, { isNew: true, replace: options.replace });
  }

  /** Opens an existing file for writing. Rejects as {@link find} does; EISDIR. */
  async openWriter(path: string | Uint8Array): Promise<FileWriter> {
    const { inode, parent, entry } = await this.find(path, { follow: true });
    const file = requireFile(inode);
    await this.inodes.unbornNames.settleFile(file.id);
    if (parent === undefined || entry === undefined) throw new NetsealError('EISDIR', 'this is a folder');
    return this.writer(file, { directory: parent, name: entry.name, id: file.id });
  }

  /**
   * Opens a file for writing whose inode was read or made already. EUNSUPPORTED when only a newer netseal may
   * change the file, or the volume.
   */
  writer(inode: FileInode, place: FilePlace, options: NewFileOptions = {}): FileWriter {
    requireFileInode('inode', inode);
    requireObject('place', place);
    requireDirectory('place.directory', place.directory);
    requireId('place.id', place.id);
    requireObject('options', options);
    this.#requireOpen();
    requireWritable(this.settings);
    requireChangeable(`inode ${inode.id}`, inode.extensions?.items);
    return new FileWriter(this.session, inode, new FileCommits(this.#commitParts, place, options));
  }

  /** Begins to upload the content of a new file. Its first commit is a name: see `Namespace.insertMany`. */
  upload(inode: FileInode): ContentUpload {
    requireFileInode('inode', inode);
    this.#requireOpen();
    requireWritable(this.settings);
    return new ContentUpload(this.session, inode);
  }

  /** Reserves memory for the content of many small files. Rejects as `Pipeline.reservePlain` does. */
  async reserveSmall(lengthBytes: number, signal?: AbortSignal): Promise<SmallUpload> {
    requireInteger('lengthBytes', lengthBytes, 1);
    requireSignal('signal', signal);
    this.#requireOpen();
    requireWritable(this.settings);
    const { units, settings } = this.session;
    return await SmallUpload.reserve(units, settings.packBytes, lengthBytes, signal);
  }

  /** Reads the content of many small files; see {@link readSmallFiles}. */
  async readSmallFiles(files: readonly FileInode[], signal?: AbortSignal): Promise<SmallContents> {
    requireList('files', files);
    requireSignal('signal', signal);
    this.#requireOpen();
    return await readSmallFiles(this.session, files, signal);
  }

  /** How much opened data readers may hold at once. Acquire the plain bytes before {@link readSmallFiles}. */
  get readBudget(): ReadBudget {
    return this.session.readBudget;
  }

  /** The folders of this machine that hold the volume's store, and what clients remember of stores. */
  get ownFolders(): readonly OwnFolder[] {
    return [
      { path: this.session.sealing.store.localFolder, what: 'the store in use' },
      { path: this.#state.folder, what: "netseal's state folder" },
    ].flatMap(({ path, what }) => (path === undefined ? [] : [{ path, what }]));
  }

  /** How much shared memory there is for plain bytes, and as much again for sealed ones. */
  get slabBytes(): number {
    return this.session.sealing.pipeline.slabBytes;
  }

  /**
   * Waits until segments are in the store. It does not close one that is still open: other files fill that
   * first, or {@link flushContent} closes it. Rejects with what an upload failed with.
   */
  async whenDurable(segments: Iterable<Id>): Promise<void> {
    requireIterable('segments', segments);
    const { dataSegments } = this.session;
    await Promise.all(Array.from(segments, segment => dataSegments.durable(segment)));
  }

  /** Waits until all submitted content is in the store. Rejects with the first upload that failed. */
  async flushContent(): Promise<void> {
    await this.session.units.placed();
    await this.session.dataSegments.flush();
  }

  /** Opens the journal of a put into this volume; see {@link PutJournal.open}. */
  openPutJournal(
    state: ClientState,
    target: JournalTarget,
    source: JournalSource,
    newId: Id,
  ): Promise<OpenedJournal | undefined> {
    const { sealing, nowMs, graceMs } = this.session;
    const { control, store } = sealing;
    return PutJournal.open({ control, store, nowMs, graceMs }, state, target, source, newId);
  }

  /** Opens the journal of writing a file of this volume to this machine; see {@link GetJournal.open}. */
  openGetJournal(state: ClientState, target: GetTarget, source: GetSource): OpenedGetJournal | undefined {
    return GetJournal.open(this.session.sealing.control, state, target, source);
  }

  /**
   * Returns what is not in the store yet, of all open files or of one. Rejects as {@link find} does.
   */
  async status(path?: string | Uint8Array): Promise<VolumeStatus> {
    this.#requireOpen();
    if (path === undefined) return statusOf(this.#files.known());
    const { inode } = await this.find(path, { follow: true });
    return statusOf([...this.#files.known()].filter(({ id }) => id === inode.id));
  }

  /**
   * Commits all open files, or one. When it resolves, the store has what was written before the call, and
   * others see it. The signal ends only the waiting. Rejects with what could not be committed; it stays, and
   * is tried again.
   */
  async flush(
    options: { readonly path?: string | Uint8Array; readonly signal?: AbortSignal | undefined } = {},
  ): Promise<void> {
    requireOptions('options', options);
    this.#requireOpen();
    const { path, signal } = options;
    if (path === undefined) await this.#files.flush(signal);
    else await this.#files.commit((await this.find(path, { follow: true })).inode.id, signal);
  }

  /** Says what is going on in open files: each file, memory, and where units came from. */
  inspect(): VolumeInspection {
    this.#requireOpen();
    const { netfs } = this.#files;
    const { memory } = this.session.sealing.pipeline;
    return { files: [...this.#files.known()], pages: netfs?.pages, memory, statistics: netfs?.statistics };
  }

  /**
   * Waits until everything written so far is in the store and all marks are saved. Rejects with the first
   * upload or commit that failed. It commits files of {@link open}, and no open `FileWriter`.
   */
  async sync(): Promise<void> {
    this.#requireOpen();
    await this.#files.flush();
    await this.#sync();
  }

  async #sync(): Promise<void> {
    await this.flushContent();
    await this.session.nodeSegments.flush();
    await Promise.all([...this.#background]);
    await this.inodes.settled();
    await this.#state.flush();
  }

  get #commitParts(): FileCommitParts {
    const { session, inodes, moves, namespace: names } = this;
    return { session, inodes, moves, names, inBackground: work => this.#inBackground(work) };
  }

  #newFiles({ pipeline, pageBytes = PAGE_BYTES_DEFAULT, scheduler }: OpenVolumeOptions): VolumeFiles {
    return new VolumeFiles({
      server: this.server,
      pipeline,
      pageBytes,
      scheduler,
      freshMs: this.session.freshMs,
      cache: this.session.cache,
      inodes: this.#commitParts,
      find: path => this.find(path, { follow: true }),
      place: (path, follow) => this.place(path, { follow }),
      newFile: (mode, unitSizeBytes) => {
        requireWritable(this.settings);
        return this.names.newFile(newAttributes(mode), unitSizeBytes);
      },
      findNow: ({ directory, name }) => this.#findNow(directory, name),
      insert: ({ directory, name }, inode) =>
        this.namespace.changing(directory, () => this.namespace.insert(directory, name, inode)),
      requireWritable: inode => {
        requireWritable(this.settings);
        requireChangeable(`inode ${inode.id}`, inode.extensions?.items);
      },
    });
  }

  async #findNow(directory: Directory, name: Name): Promise<DirectoryEntry | undefined> {
    const { id, extensions } = await directory.read(0);
    requireChangeable(`inode ${id}`, extensions?.items);
    return await this.namespace.find(directory, name, Number.POSITIVE_INFINITY);
  }

  #newFs(): VolumeFs {
    const files = this.#files;
    return new VolumeFs({
      commitParts: this.#commitParts,
      names: this.names,
      find: (path, options) => this.find(path, options),
      place: (path, options) => this.place(path, options),
      open: (path, flags, mode) => {
        this.#requireOpen();
        return files.open(path, flags, mode);
      },
      newAttributes,
      requireWritable: () => requireWritable(this.settings),
      statusOf: id => files.statusOf(id),
      commit: id => files.commit(id),
    });
  }

  /** Starts work that only {@link sync} waits for. */
  #inBackground(work: Promise<void>): void {
    const ended = work.finally(() => this.#background.delete(ended));
    // `sync` reports a failure.
    ended.catch(() => undefined);
    this.#background.add(ended);
  }

  /**
   * Commits and closes all files of {@link open}, syncs, writes this client's head, and ends the session. A
   * second call does nothing. When a file cannot be committed, it rejects with the reason, and the volume
   * stays open: with `discard` it closes all the same, and what was not committed is lost.
   *
   * Rejects as {@link sync} does, and with EFORK or EROLLBACK when the store was found to show different
   * histories, or an old one. `onProblem` is told of anything else that was wrong with heads.
   */
  async close(options: { readonly discard?: boolean } = {}): Promise<void> {
    requireObject('options', options);
    requireFlag('options.discard', options.discard);
    if (this.#isClosed) return;
    await this.#files.close(options);
    this.#isClosed = true;
    try {
      await this.server[Symbol.asyncDispose]();
      const [synced] = await Promise.allSettled([this.#sync()]);
      const [told] = await Promise.allSettled([this.#history.close()]);
      await this.#state.flush();
      for (const ended of [synced, told]) if (ended.status === 'rejected') throw ended.reason;
    } finally {
      this.#isEnded = true;
      this.session.sealing.pipeline.removeKeyring(this.session.sealing.keys);
      this.#control.destroy();
      await this.#onClosed?.();
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #requireOpen(): void {
    if (this.#isClosed) throw new NetsealError('ECLOSED', 'the volume is closed');
  }
}

function followOf(options: ResolveOptions, byDefault: boolean): boolean {
  requireObject('options', options);
  requireFlag('options.follow', options.follow);
  return options.follow ?? byDefault;
}

function requireFile(inode: Inode): FileInode {
  if (inode.type === 'directory') throw new NetsealError('EISDIR', 'this is a folder: name a file');
  requireArgument(inode.type === 'file', 'this is a symbolic link, not a file');
  return inode;
}
