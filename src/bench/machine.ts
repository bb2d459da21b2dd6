/** Describes the machine, so that results of different machines can be told apart later. */
import { arch, availableParallelism, cpus, platform, totalmem } from 'node:os';

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  /** For example `linux x64`. */
  readonly platform: string;
  /** For example `v24.1.0`. */
  readonly node: string;
  readonly openssl: string;
  /** Empty where Node has no zstd of its own. */
  readonly zstd: string;
}

export function describeMachine(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() || 'unknown processor',
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    platform: `${platform()} ${arch()}`,
    node: process.version,
    openssl: process.versions.openssl ?? '',
    zstd: process.versions.zstd ?? '',
  };
}
