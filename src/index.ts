/** netseal's public surface: errors, keys, the unit, the pipeline and its streams. Everything else is internal. */

// Errors
export { ERROR_CODES, type ErrorCode, isNetsealError, NetsealError } from './base/errors.ts';
export {
  BLOCK_BYTES_DEFAULT,
  BLOCK_BYTES_MAX,
  UNIT_BYTES_DEFAULT,
  UNIT_BYTES_MAX,
  UNIT_BYTES_MIN,
} from './base/geometry.ts';

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

// Pipeline
export type { UnitAt } from './pipeline/job.ts';
export type { KeyHandle, RecordQuery } from './pipeline/key-table.ts';
export { type OpenStreamOptions, openStream } from './pipeline/open-stream.ts';
export type { StreamPair } from './pipeline/ordered-output.ts';
export { type CallOptions, openPipeline, type Pipeline, type SlabUse } from './pipeline/pipeline.ts';
export type {
  OpenedUnit,
  OpenRequest,
  Run,
  SealedUnit,
  SealRequest,
  UnitToOpen,
  UnitToSeal,
} from './pipeline/requests.ts';
export { type SealStreamOptions, sealStream } from './pipeline/seal-stream.ts';
export type { PipelineSettings } from './pipeline/settings.ts';
export type { Lease } from './pipeline/slab.ts';

// Units
export {
  CODEC_DEFAULT,
  type CodecProviderName,
  type CodecSetting,
  formatCodec,
  parseCodec,
} from './unit/codec.ts';
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
