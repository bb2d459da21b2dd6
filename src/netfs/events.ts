/**
 * Events on `node:diagnostics_channel`. They cost nothing while nobody listens.
 *
 * | channel           | when                                                               | message              |
 * | ----------------- | ------------------------------------------------------------------ | -------------------- |
 * | `netseal:commit`  | changes of a file are in the store, and others see them            | {@link CommitEvent}  |
 * | `netseal:error`   | an upload or a commit has failed; what was written stays in memory | {@link ErrorEvent}   |
 * | `netseal:dropped` | a file does without the cache from now on, as that failed or lags  | {@link DroppedEvent} |
 */
import { type Channel, channel } from 'node:diagnostics_channel';
import { toHex } from '../base/bytes.ts';

export interface CommitEvent {
  /** The id of the file's inode. */
  readonly file: string;
  readonly sizeBytes: number;
  /** How many units were changed. */
  readonly units: number;
}

export interface ErrorEvent {
  readonly file: string;
  readonly error: unknown;
}

export interface DroppedEvent {
  readonly file: string;
  /** What is done without, such as `the cache`. */
  readonly stream: string;
  readonly error: unknown;
}

const COMMITS: Channel = channel('netseal:commit');
const ERRORS: Channel = channel('netseal:error');
const DROPPED: Channel = channel('netseal:dropped');

export function tellCommit(key: Uint8Array, sizeBytes: number, units: number): void {
  if (!COMMITS.hasSubscribers) return;
  const event: CommitEvent = { file: toHex(key), sizeBytes, units };
  COMMITS.publish(event);
}

export function tellError(key: Uint8Array, error: unknown): void {
  if (!ERRORS.hasSubscribers) return;
  const event: ErrorEvent = { file: toHex(key), error };
  ERRORS.publish(event);
}

export function tellDropped(key: Uint8Array, stream: string, error: unknown): void {
  if (!DROPPED.hasSubscribers) return;
  const event: DroppedEvent = { file: toHex(key), stream, error };
  DROPPED.publish(event);
}
