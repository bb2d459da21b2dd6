/**
 * The public surface of netseal: errors, keys, units, the pipeline and its streams, the local cache, stores
 * and volumes. Everything that is not exported here is internal.
 */

export type { CallOptions } from './base/call-options.ts';
// Errors
export { ERROR_CODES, type ErrorCode, isNetsealError, NetsealError } from './base/errors.ts';
export { UNIT_BYTES_DEFAULT, UNIT_BYTES_MAX, UNIT_BYTES_MIN } from './base/geometry.ts';
export type { CacheKey } from './cache/base/cache-keys.ts';
export type { CacheSettings, CheckedSettings, DiskLimits } from './cache/base/settings.ts';
export type {
  CacheEvent,
  CacheStatistics,
  Counters,
  DropReason,
  LifetimeCounters,
  ProblemKind,
} from './cache/base/statistics.ts';
// The local cache
export type { Cache } from './cache/cache.ts';
export type { CacheVolume, UnitRange, UnitToGet } from './cache/cache-volume.ts';
export type { DirtyBatch, ListedBatch } from './cache/dirty/intake.ts';
export type { LedgerCount, LedgerEntry } from './cache/dirty/ledger.ts';
export type { CachedUnit, Damage, VerifyOptions, VerifyProgress } from './cache/inspect/contents.ts';
export type { Discarded, DiscardScope } from './cache/inspect/discard.ts';
export type { MissingRange } from './cache/inspect/incomplete.ts';
export type {
  CachedObject,
  CachedVolume,
  ListedUnit,
  ListSettings,
  UnitTotals,
} from './cache/inspect/listing.ts';
export type { Cookie, ListedCookie } from './cache/objects/cookies.ts';
export type { Pin } from './cache/objects/pins.ts';
export type { UnitPlace, UnitToPut } from './cache/objects/unit-place.ts';
export { type CacheComponents, openCache } from './cache/open.ts';
export { PlainCache, type PlainObject, type PlainUnit } from './cache/plain.ts';
export { type SharedCache, ThreadReader } from './cache/thread-reader.ts';
// Keys
export {
  ARGON2_COST_DEFAULT,
  type Argon2Cost,
  type Argon2Parameters,
  type Argon2Provider,
  type Argon2ProviderName,
  selectArgon2,
} from './keys/argon2.ts';
export { HEADER_BYTES_MAX, HEADER_PREFIX_BYTES, volumeHeaderLength } from './keys/header-format.ts';
export { type HeaderDescription, inspectVolumeHeader, type SlotDescription } from './keys/inspect.ts';
export { Keyring } from './keys/keyring.ts';
export type { NewSlot } from './keys/new-slot.ts';
export { checkPin, type HeaderPin, pinOf } from './keys/pin.ts';
export type {
  CallbackRequest,
  CallbackSecret,
  KeyCallback,
  KeyFileSecret,
  NewSecret,
  PassphraseSecret,
  RawKeySecret,
  Secret,
} from './keys/secret.ts';
export {
  type CreateOptions,
  createVolumeHeader,
  type HeaderOptions,
  type UnlockOptions,
  unlockVolumeHeader,
} from './keys/unlock.ts';
export type { RekeyOptions, SlotInfo, VolumeHeader } from './keys/volume-header.ts';
export type {
  FileStatus,
  Position,
  ReadResult,
  TransferOptions,
  WaitOptions,
  WriteResult,
} from './netfs/file.ts';
// Pipeline
export type { UnitAt } from './pipeline/job.ts';
export type { KeyHandle, RecordQuery } from './pipeline/key-table.ts';
export { type OpenStreamOptions, openStream } from './pipeline/open-stream.ts';
export type { StreamPair } from './pipeline/ordered-output.ts';
export { openPipeline, type Pipeline, type SlabUse } from './pipeline/pipeline.ts';
export type {
  OpenedBatch,
  OpenedUnit,
  OpenRequest,
  SealedBatch,
  SealedUnit,
  SealRequest,
  UnitToOpen,
  UnitToSeal,
} from './pipeline/requests.ts';
export { type SealStreamOptions, sealStream } from './pipeline/seal-stream.ts';
export type { PipelineSettings } from './pipeline/settings.ts';
export type { Lease } from './pipeline/slab.ts';
// Stores
export { adaptStore } from './server/adapters/adapt-store.ts';
export { type OpenStoreUrlOptions, openStoreUrl } from './server/adapters/open-url.ts';
export { openS3Store, type S3ClientLike, type S3StoreSettings } from './server/adapters/s3-store.ts';
export type {
  ClientEntry,
  ClientGetOptions,
  ClientObject,
  ClientPage,
  ClientPutOptions,
  ClientStat,
  ObjectBody,
  StorageClient,
} from './server/adapters/storage-client.ts';
export type { UnstorageDriver, UnstorageMeta } from './server/adapters/unstorage-driver.ts';
export { type UnstorageStoreOptions, unstorageStore } from './server/adapters/unstorage-store.ts';
export { DirectoryStore } from './server/directory-store.ts';
export { MemoryStore } from './server/memory-store.ts';
export { StoreMeter } from './server/meter.ts';
export {
  isSafeForWriters,
  type ProbeCheck,
  type ProbeOptions,
  type ProbeReport,
  probeStore,
} from './server/probe.ts';
// Volumes
export type { Attributes, ExtendedAttribute, Inode } from './server/sealed/inode.ts';
export type {
  ByteRange,
  GetOptions,
  GetResult,
  ListEntry,
  ListOptions,
  ListPage,
  ObjectStat,
  ObjectStore,
  PutCondition,
  PutOptions,
  StoreCapabilities,
  Version,
} from './server/store.ts';
export { type WrapSettings, wrapStore } from './server/wrap.ts';
export { get } from './transfer/get.ts';
export { put } from './transfer/put.ts';
export { Tally } from './transfer/tally.ts';
// Units
export {
  CODEC_DEFAULT,
  type CodecProviderName,
  type CodecSetting,
  formatCodec,
  parseCodec,
} from './unit/codec.ts';
export { PADDING_DEFAULT, type Padding } from './unit/padding.ts';
export type { ProviderChoice, ProviderReport, ProviderSettings } from './unit/providers.ts';
export {
  type CodecName,
  parseSuite,
  type RecordKind,
  SUITE_DEFAULT,
  type SuiteName,
} from './unit/record-format.ts';
export { sealedBytesMax } from './unit/seal.ts';
export type { CipherProviderName } from './unit/suite.ts';
export {
  type Amount,
  collectGarbage as gc,
  type GcOptions,
  type GcProgress,
  type GcReport,
} from './volume/care/gc.ts';
export {
  type VerifyOptions as VolumeVerifyOptions,
  type VerifyProgress as VolumeVerifyProgress,
  type VerifyReport,
  verifyVolume as verify,
} from './volume/care/verify.ts';
export type { Damage as VolumeDamage } from './volume/care/verify-damage.ts';
export type { FileReader, Piece } from './volume/content/file-reader.ts';
export type { FileWriter } from './volume/content/file-writer.ts';
export type { OpenFlags } from './volume/file-flags.ts';
export type { ReadStreamOptions, WriteStreamOptions } from './volume/fs/file-streams.ts';
export type { BigIntVolumeStats, VolumeDirent, VolumeStats } from './volume/fs/stats.ts';
export type { SaveAsOptions, VolumeFile } from './volume/fs/volume-file.ts';
export type { VolumeFs } from './volume/fs/volume-fs.ts';
export type { Directory } from './volume/names/directory.ts';
export { nameBytes, toBytesName as toName } from './volume/names/name-checks.ts';
export type { Found, Place } from './volume/names/path-walk.ts';
export type { GivenName, NamePlace, VolumeNames } from './volume/names/volume-names.ts';
export { type CreateVolumeOptions, createVolume, type OpenOptions, openVolume } from './volume/open.ts';
export type { VolumeSettings } from './volume/session/volume-settings.ts';
export { type ClientState, memoryState } from './volume/state/client-state.ts';
export { openStateFolder } from './volume/state/state-folder.ts';
export { forgetState, listState, type RememberedStore } from './volume/state/state-list.ts';
export type { Volume } from './volume/volume.ts';
export type { KnownFile, OpenPathOptions } from './volume/volume-files.ts';
export type { FailingFile, VolumeInspection, VolumeStatus } from './volume/volume-status.ts';
export { type VolumeStoreOptions, volumeStore } from './volume/volume-store.ts';
