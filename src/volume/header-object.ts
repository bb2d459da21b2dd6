/**
 * The volume header as an object of the store, under the key `volume`. It is made once, and then replaced by
 * compare-and-swap only, so that no client undoes what another has done.
 */
import { equalBytes, fromHex } from '../base/bytes.ts';
import { type ErrorCode, isNetsealError, NetsealError } from '../base/errors.ts';
import { HEADER_BYTES_MAX, volumeHeaderLength } from '../keys/header-format.ts';
import { inspectVolumeHeader } from '../keys/inspect.ts';
import { checkPin, type HeaderPin, pinOf } from '../keys/pin.ts';
import type { Secret } from '../keys/secret.ts';
import { type UnlockOptions, unlockVolumeHeader } from '../keys/unlock.ts';
import type { VolumeHeader } from '../keys/volume-header.ts';
import { HEADER_KEY } from '../server/sealed/object-keys.ts';
import type { ObjectStore, PutCondition, Version } from '../server/store.ts';
import { decodeSettings } from './session/volume-settings.ts';
import type { ClientState } from './state/client-state.ts';

/** A header as it lies in the store, still locked. */
export interface HeaderObject {
  readonly bytes: Uint8Array;
  readonly version: Version;
}

/** Secrets, or a function that gets them. It is called once, after the header was found. */
export type SecretSource = Secret | readonly Secret[] | (() => Promise<Secret | readonly Secret[]>);

export interface HeaderObjectOptions extends UnlockOptions {
  readonly signal?: AbortSignal | undefined;
}

const CHANGE_TRIES = 8;

/**
 * Stores the first header. EEXIST when the store holds a volume; EUNCERTAIN when it is unknown whether it is
 * there.
 */
export async function createHeaderObject(
  store: ObjectStore,
  header: VolumeHeader,
  { signal }: HeaderObjectOptions = {},
): Promise<void> {
  try {
    await putHeader(store, header, { ifAbsent: true }, signal);
  } catch (error) {
    if (hasCode(error, 'ECONFLICT')) throw volumeExists(store, error);
    if (!hasCode(error, 'EUNCERTAIN')) throw error;
    const found = await look(store, error, signal);
    // The put may still arrive.
    if (found === undefined) throw error;
    if (!equalBytes(found.bytes, header.bytes)) throw volumeExists(store, error);
  }
}

/**
 * Reads the header. ENOENT when the store holds no volume; EFORMAT or ETRUNCATED when it holds no whole
 * header.
 */
export async function readHeaderObject(
  store: ObjectStore,
  { signal }: HeaderObjectOptions = {},
): Promise<HeaderObject> {
  const found = await findHeaderObject(store, signal);
  if (found === undefined) throw noVolume(store);
  return found;
}

/**
 * Reads and unlocks the header. The caller destroys its keyring.
 *
 * With a state, the header is also checked against the pin in it (EROLLBACK), the state is attached to the
 * volume, and the new pin is saved. Other errors are those of {@link readHeaderObject} and
 * `unlockVolumeHeader`.
 */
export async function unlockHeaderObject(
  store: ObjectStore,
  secrets: SecretSource,
  state?: ClientState,
  options: HeaderObjectOptions = {},
): Promise<VolumeHeader> {
  const known = state?.pin();
  const found = await readHeaderObject(store, options);
  return unlockFound(found, await resolveSecrets(secrets), state, known, options);
}

/**
 * Replaces the header with the one that `change` makes of it, and returns that. The caller destroys its
 * keyring.
 *
 *   - If another client was first, the header is read and unlocked again, and `change` is called with it.
 *   - If `change` returns the header that it was given, nothing is written.
 *
 * Rejects with what `change` throws; ECONFLICT when other clients were first 8 times; EUNCERTAIN when the
 * answer was lost and it is unknown whether the change is there.
 */
export async function changeHeaderObject(
  store: ObjectStore,
  secrets: SecretSource,
  state: ClientState | undefined,
  change: (header: VolumeHeader) => Promise<VolumeHeader> | VolumeHeader,
  options: HeaderObjectOptions = {},
): Promise<VolumeHeader> {
  let known = state?.pin();
  let found = await readHeaderObject(store, options);
  const resolved = await resolveSecrets(secrets);
  for (let attempt = 1; ; attempt += 1) {
    const header = await unlockFound(found, resolved, state, known, options);
    let next: VolumeHeader | undefined;
    try {
      next = await change(header);
      if (next === header) return header;
      known = state?.pin();
      const other = await swapHeader(store, found, next, options.signal);
      if (other === undefined) {
        await state?.savePin(pinOf(next));
        if (next.keyring !== header.keyring) header.keyring.destroy();
        return next;
      }
      found = other;
    } catch (error) {
      header.keyring.destroy();
      next?.keyring.destroy();
      throw error;
    }
    header.keyring.destroy();
    next.keyring.destroy();
    if (attempt === CHANGE_TRIES) {
      throw new NetsealError(
        'ECONFLICT',
        `${store.name}: others changed the volume header ${attempt} times meanwhile; try again`,
      );
    }
  }
}

/** Replaces `base` with `next`. Returns the header that is there instead if another client was first. */
async function swapHeader(
  store: ObjectStore,
  base: HeaderObject,
  next: VolumeHeader,
  signal: AbortSignal | undefined,
): Promise<HeaderObject | undefined> {
  let lostAnswer: unknown;
  for (let attempt = 1; attempt <= CHANGE_TRIES; attempt += 1) {
    const failure = await tryPut(store, base, next, lostAnswer, signal);
    if (failure === undefined) return undefined;
    if (hasCode(failure, 'EUNCERTAIN')) lostAnswer = failure;
    const found = await look(store, lostAnswer, signal);
    if (found === undefined) throw lostAnswer ?? noVolume(store);
    if (equalBytes(found.bytes, next.bytes)) return undefined;
    // Under the same condition, two puts cannot both happen.
    if (found.version === base.version) continue;
    // A later header may have been made from ours, or from another one.
    const isLater = inspectVolumeHeader(found.bytes).generation > next.generation;
    if (lostAnswer !== undefined && isLater) throw lostAnswer;
    return found;
  }
  throw lostAnswer ?? new NetsealError('EUNAVAILABLE', `${store.name}: refuses to replace what it shows`);
}

/**
 * Tries to put the header. Returns undefined when that has happened, else the ECONFLICT or EUNCERTAIN after
 * which the store has to be read.
 */
async function tryPut(
  store: ObjectStore,
  base: HeaderObject,
  next: VolumeHeader,
  lostAnswer: unknown,
  signal: AbortSignal | undefined,
): Promise<unknown> {
  try {
    await putHeader(store, next, { ifMatch: base.version }, signal);
    return undefined;
  } catch (error) {
    if (hasCode(error, 'ECONFLICT') || hasCode(error, 'EUNCERTAIN')) return error;
    throw unlessLost(error, lostAnswer, signal);
  }
}

/**
 * Returns the error of the lost answer instead of a later failure, which does not say what became of the
 * change. An abort stays an abort.
 */
function unlessLost(error: unknown, lostAnswer: unknown, signal: AbortSignal | undefined): unknown {
  return signal?.aborted === true ? error : (lostAnswer ?? error);
}

/** Reads the header that is there now; undefined for none. */
async function look(
  store: ObjectStore,
  lostAnswer: unknown,
  signal: AbortSignal | undefined,
): Promise<HeaderObject | undefined> {
  try {
    return await findHeaderObject(store, signal);
  } catch (error) {
    throw unlessLost(error, lostAnswer, signal);
  }
}

async function putHeader(
  store: ObjectStore,
  header: VolumeHeader,
  condition: PutCondition,
  signal: AbortSignal | undefined,
): Promise<void> {
  // The private part is sealed under a random salt, so the bytes are unique.
  await store.put(HEADER_KEY, [header.bytes], { condition, signal, bytesAreUnique: true });
}

async function findHeaderObject(
  store: ObjectStore,
  signal: AbortSignal | undefined,
): Promise<HeaderObject | undefined> {
  const range = { offsetBytes: 0, lengthBytes: HEADER_BYTES_MAX };
  try {
    const { bytes, sizeBytes, version } = await store.get(HEADER_KEY, { range, signal });
    const lengthBytes = volumeHeaderLength(bytes);
    if (lengthBytes === undefined || sizeBytes < lengthBytes) {
      throw new NetsealError('ETRUNCATED', `volume header: it ends after ${sizeBytes} bytes: ${store.name}`);
    }
    if (sizeBytes > lengthBytes) {
      throw new NetsealError('EFORMAT', `volume header: bytes follow its end: ${store.name}`);
    }
    return { bytes, version };
  } catch (error) {
    if (hasCode(error, 'EMISSING')) return undefined;
    throw error;
  }
}

/** @param known the pin as it was before the header was read: a newer pin may be of a newer header. */
async function unlockFound(
  { bytes }: HeaderObject,
  secrets: Secret | readonly Secret[],
  state: ClientState | undefined,
  known: HeaderPin | undefined,
  options: HeaderObjectOptions,
): Promise<VolumeHeader> {
  const header = await unlockVolumeHeader(bytes, secrets, options);
  if (state === undefined) return header;
  try {
    if (known !== undefined) checkPin(known, header);
    await attachState(state, header);
    const pin = pinOf(header);
    if (known?.headerHash !== pin.headerHash) await state.savePin(pin);
    return header;
  } catch (error) {
    header.keyring.destroy();
    throw error;
  }
}

/** Attaches a state to the volume of an unlocked header. EFORMAT when the header is not of a volume. */
export async function attachState(state: ClientState, header: VolumeHeader): Promise<void> {
  const marksKey = fromHex(decodeSettings(header.settings).marksKey);
  try {
    await state.attach(header, marksKey);
  } finally {
    marksKey.fill(0);
  }
}

async function resolveSecrets(secrets: SecretSource): Promise<Secret | readonly Secret[]> {
  return typeof secrets === 'function' ? secrets() : secrets;
}

function noVolume(store: ObjectStore): NetsealError {
  return new NetsealError('ENOENT', `no volume in ${store.name}; make one with "netseal init"`);
}

function volumeExists(store: ObjectStore, cause: unknown): NetsealError {
  return new NetsealError('EEXIST', `there is a volume already: ${store.name}`, { cause });
}

function hasCode(error: unknown, code: ErrorCode): boolean {
  return isNetsealError(error) && error.code === code;
}
