/**
 * What all parts of one opened cache share. The file lies in this folder because rows are the highest layer
 * that it refers to, so every folder above can import it.
 */
import type { CacheFiles } from '../base/files.ts';
import type { Health } from '../base/health.ts';
import type { Seals } from '../base/seals.ts';
import type { CheckedSettings } from '../base/settings.ts';
import type { CacheEvent, Counters } from '../base/statistics.ts';
import type { Fingerprinter } from '../index/fingerprints.ts';
import type { Rows } from './rows.ts';

export interface CacheContext {
  /** The path of the cache's folder as it was given, for messages. */
  readonly folder: string;
  readonly settings: CheckedSettings;
  readonly files: CacheFiles;
  readonly seals: Seals;
  readonly rows: Rows;
  readonly fingerprinter: Fingerprinter;
  readonly health: Health;
  readonly counters: Counters;
  /** The time in milliseconds since 1970. It may jump, backwards as well. */
  readonly nowMs: () => number;
  /** The time in milliseconds since any moment. It never jumps. */
  readonly monotonicMs: () => number;
  readonly onEvent: (event: CacheEvent) => void;
  /**
   * False when the folder of the cache was removed, or when another folder has its place: what lies there is
   * lost.
   */
  readonly hasFolder: () => boolean;
}
