/**
 * What the netfs layer asks of a server. The sealed layout is one implementation of it (in `volume`), a
 * scripted one in memory another. A file is known here by its key only: netfs knows no names, no store and no
 * layout.
 *
 * All ranges are half-open, in bytes or units of the file; all numbers are safe integers. A call settles only
 * when it is done with netfs's memory: it writes `into`, and reads `parts`, until then and not afterwards.
 *
 * What a rejection means to netfs, by its code:
 *
 *   EUNAVAILABLE  wait, and ask again
 *   EUNCERTAIN    of a commit: it may have happened; send the very same commit again
 *   ECONFLICT     of a commit: another client has changed the file
 *   EMISSING      the file is gone
 *   all others    dirty data is kept, and the error is told once to each open file
 */
import type { KeyHandle } from '../pipeline/key-table.ts';
import type { CodecSetting } from '../unit/codec.ts';
import type { Padding } from '../unit/padding.ts';
import type { SuiteName } from '../unit/record-format.ts';

/** What a server can do. Unknown capabilities are none. */
export interface NetfsCapabilities {
  /** What `read` fills and `write` is given: sealed records. */
  readonly content: 'sealed';
  /** When others see what was written: at `commit`. */
  readonly publish: 'commit';
  /** Whether `commit` compares the version and swaps in one step. */
  readonly condition: 'none' | 'version';
  /** The most sealed bytes of one `read`, and of one `write`. */
  readonly rsizeBytes: number;
  readonly wsizeBytes: number;
  /** Whether the server's client takes shared memory. Otherwise the server copies. */
  readonly sharedMemory: boolean;
  /**
   * True when a write reads its records only until they are placed. Otherwise it does until they are durable.
   */
  readonly copiesWrites: boolean;
}

export interface CallSignal {
  readonly signal?: AbortSignal | undefined;
}

export interface StateOptions extends CallSignal {
  /**
   * The version that the caller's changes were made on. `locate` keeps it besides the one that is told now,
   * until another one is named here, or a commit succeeds.
   */
  readonly standsOn?: string | undefined;
}

export interface LocateOptions extends CallSignal {
  /** The version that is asked about. Default: the one told last. */
  readonly version?: string | undefined;
}

/** A file as the server has it. */
export interface FileState {
  /** Compared for equality only. */
  readonly version: string;
  readonly sizeBytes: number;
  /** From here on the server has nothing but zeros. Default: the size. */
  readonly zeroPointBytes?: number | undefined;
}

/** How the units of a file are sealed. It does not change while the file is open. */
export interface FileForm {
  readonly keys: KeyHandle;
  /** 16 bytes: the object that units are sealed for. */
  readonly objectId: Uint8Array;
  readonly unitSizeBytes: number;
  readonly suite: SuiteName;
  readonly codec: CodecSetting;
  readonly padding: Padding;
}

/** The place that a record was sealed for. */
export interface ReceiptOrigin {
  /** 16 bytes. */
  readonly objectId: Uint8Array;
  readonly index: number;
}

/** The part of a pack that a unit begins with. The unit's other bytes are zeros. */
export interface ReceiptSlice {
  /** 16 bytes: the pack is sealed for this object, index 0, kind `pack`. */
  readonly packId: Uint8Array;
  readonly packBytes: number;
  readonly startBytes: number;
  readonly lengthBytes: number;
}

/** Which record a unit is. Servers keep what else they need to find it in objects of a class of their own. */
export interface Receipt {
  /** 16 bytes: the record's authentication tag. Two receipts with one tag name the same bytes. */
  readonly tag: Uint8Array;
  /** The length of the sealed record. */
  readonly lengthBytes: number;
  /** Given only where it differs from the file's own object and the unit's own index. */
  readonly origin?: ReceiptOrigin | undefined;
  /** Given when the record is a pack. */
  readonly slice?: ReceiptSlice | undefined;
}

/** Some units to read, whose receipts are known. */
export interface ReadSub<Handle> extends CallSignal {
  readonly handle: Handle;
  /** One for each record. They need not be neighbours in the file. */
  readonly receipts: readonly Receipt[];
  /**
   * Takes the records, one after the other without gaps, in the order of the receipts. As long as all of them
   * together.
   */
  readonly into: Uint8Array;
}

/** What `read` has read. */
export interface ReadEnd {
  /**
   * For each record that is not there: why. The bytes of the others are in place. EMISSING where a record is
   * not where its receipt says: after `state`, `locate` may tell another.
   */
  readonly errors: ReadonlyMap<number, Error>;
}

/** A sealed unit to write. */
export interface UnitToWrite {
  readonly index: number;
  /**
   * The record. It holds still until `done` has settled, or `placed` if the server copies writes. When it is
   * committed, its plain bytes must end within the file's size.
   */
  readonly bytes: Uint8Array;
  /** 16 bytes, which belong to the server from then on. */
  readonly tag: Uint8Array;
}

export interface WriteSub<Handle> extends CallSignal {
  readonly handle: Handle;
  readonly units: readonly UnitToWrite[];
}

/** The two ends of a write. Neither promise is left without a handler by the server itself. */
export interface Writing {
  /**
   * Receipts, in the order of the units. From then on `read` finds the records, and `commit` takes them; it
   * makes them durable before its swap.
   */
  readonly placed: Promise<Receipt[]>;
  /** The records are durable, and the server reads `bytes` no more. Rejects when they are lost. */
  readonly done: Promise<void>;
}

export interface CommitSub extends CallSignal {
  /** New records by unit; undefined makes a unit a hole. Units beyond the new size must not be among them. */
  readonly receipts: ReadonlyMap<number, Receipt | undefined>;
  readonly sizeBytes: number;
  /**
   * The lowest size that the file had since `ifVersion`. What the server has from there on is gone, even if
   * the file has grown since. Not above the size at `ifVersion`, nor above `sizeBytes`. A unit that it cuts
   * in two must be among the receipts, unless it is a hole, or its record a pack: EINVAL.
   */
  readonly cutBytes: number;
  /** The version that the changes were made on. */
  readonly ifVersion: string;
  readonly mtimeNs?: bigint | undefined;
}

export interface OpenedFile<Handle> {
  readonly handle: Handle;
  readonly state: FileState;
  readonly form: FileForm;
  /** True for a file that the first commit makes, also one without any change. Default false. */
  readonly isNew?: boolean | undefined;
}

/** A file after a commit. */
export interface Committed extends FileState {
  /** What those who have the file open are to be told once, although the commit has happened. */
  readonly problem?: Error | undefined;
}

/** A server of sealed files. `Handle` is the server's own and means nothing to netfs. */
export interface NetfsServer<Handle = unknown> extends AsyncDisposable {
  /** For messages. */
  readonly name: string;
  readonly capabilities: NetfsCapabilities;

  /** Opens a file by its key. EMISSING when there is none. */
  open(key: Uint8Array, options: CallSignal): Promise<OpenedFile<Handle>>;

  /**
   * Asks for the file as it is now. If its version is another than before, `locate` goes by the new one from
   * then on, unless it is asked about the one that the caller stands on.
   */
  state(handle: Handle, options: StateOptions): Promise<FileState>;

  /**
   * Returns the receipts of the units [from, to); undefined for a hole. ECONFLICT for a version that is
   * neither the one told last nor the one that the caller stood on then.
   */
  locate(
    handle: Handle,
    fromUnit: number,
    toUnit: number,
    options: LocateOptions,
  ): Promise<(Receipt | undefined)[]>;

  /** Reads records. Resolves also when single ones failed. Rejects when nothing could be asked at all. */
  read(sub: ReadSub<Handle>): Promise<ReadEnd>;

  /** Writes records. Returns at once. */
  write(sub: WriteSub<Handle>): Writing;

  /** Starts what the server holds back, so that writes under way end. */
  push(): void;

  /**
   * Makes changes visible to all, in one step, if the file still has the version `ifVersion`. Resolves with
   * the file's new state. A handle has one commit at a time.
   *
   * Rejects with what `done` has rejected with when a record is lost: such a receipt can never be committed.
   *
   * After EUNCERTAIN, the same commit is to be sent again. It resolves as well if the first one has happened.
   * After ECONFLICT `locate` tells: units that have the tags of the receipts were changed by the first one.
   */
  commit(handle: Handle, sub: CommitSub): Promise<Committed>;

  /** Gives the handle back. */
  close(handle: Handle): Promise<void>;
}
