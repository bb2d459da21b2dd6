/** The local side with and without koffi, and folders to try it on. */
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { vi } from 'vitest';
import type { Attributes } from '../../src/server/sealed/inode.ts';

export type Source = typeof import('../../src/transfer/local-source.ts');
export type Target = typeof import('../../src/transfer/local-target.ts');

/** For files whose attributes can all be read and kept. */
export function neverLost(what: string): void {
  throw new Error(what);
}

/** Fresh modules: with koffi, or as on a machine that lacks it. */
export async function localModules(hasKoffi: boolean): Promise<Source & Target> {
  vi.resetModules();
  vi.stubEnv('NETSEAL_KOFFI', hasKoffi ? undefined : '0');
  const source = await import('../../src/transfer/local-source.ts');
  const target = await import('../../src/transfer/local-target.ts');
  const { nativeReport } = await import('../../src/transfer/local-native.ts');
  // Loads now, while the environment says so.
  nativeReport();
  vi.unstubAllEnvs();
  return { ...source, ...target };
}

export const MODES = [
  { how: 'with koffi', hasKoffi: true },
  { how: 'without koffi', hasKoffi: false },
] as const;

const FOLDER_PREFIX = 'netseal-local-';

/** A new folder; the caller removes it with {@link removeFolder}. */
export function makeFolder(): string {
  return fs.mkdtempSync(join(tmpdir(), FOLDER_PREFIX));
}

export function removeFolder(path: string): void {
  fs.rmSync(path, { recursive: true, force: true });
}

/** Names that programs stumble over; as Latin-1. */
export const ODD_NAMES: readonly string[] = [
  'a\nb',
  'x'.repeat(255),
  '\xff\xfe\x80',
  '-rf',
  ' leading and trailing ',
  'back\\slash',
  '...',
  '*',
  '\x01\x1b[31m',
  '\xc3\xa9',
  'e\xcc\x81',
  '.netseal-0.partial',
  '.netseal-0123456789abcdef01234567.partial.bak',
  '__proto__',
];

export const ATTRIBUTES: Attributes = {
  mode: 0o644,
  uid: process.getuid?.() ?? 0,
  gid: process.getgid?.() ?? 0,
  mtimeNs: 1_600_000_000_123_456_789n,
  xattrs: [],
};

/** Runs `action` without the rights of root. */
export function asNobody<Result>(action: () => Result): Result {
  if (process.geteuid?.() !== 0) return action();
  process.seteuid?.(65534);
  try {
    return action();
  } finally {
    process.seteuid?.(0);
  }
}

/** How many descriptors this process has of folders of {@link makeFolder} and what is in them. */
export function descriptorCount(): number {
  return fs.readdirSync('/proc/self/fd').filter(fd => {
    try {
      return fs.readlinkSync(`/proc/self/fd/${fd}`).includes(FOLDER_PREFIX);
    } catch {
      // The one of the list itself.
      return false;
    }
  }).length;
}

export const CAN_MOUNT: boolean = process.getuid?.() === 0;

/** A file system of this size in memory. */
export function mountSmall(path: string, size: string): void {
  fs.mkdirSync(path);
  execFileSync('/bin/mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', path]);
}

export function unmount(path: string): void {
  // Lazily: a test that failed may have files open.
  execFileSync('/bin/umount', ['-l', path]);
}
