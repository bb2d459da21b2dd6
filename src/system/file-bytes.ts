/**
 * Reading and writing by descriptor, as promises of the count of bytes. `promisify` gives an object with that
 * count under Node, but the bare count under Deno.
 */
import { read, write, writev } from 'node:fs';

/** Reads at `position` into `bytes` from `at` on. Resolves with the count, 0 at the end of the file. */
export function readAsync(
  fd: number,
  bytes: Uint8Array,
  at: number,
  lengthBytes: number,
  position: number,
): Promise<number> {
  return counted(done => read(fd, bytes, at, lengthBytes, position, done));
}

/** Writes a part of `bytes` at `position`. Resolves with the count, which may be less than asked for. */
export function writeAsync(
  fd: number,
  bytes: Uint8Array,
  at: number,
  lengthBytes: number,
  position: number,
): Promise<number> {
  return counted(done => write(fd, bytes, at, lengthBytes, position, done));
}

/**
 * Writes `parts` one behind the other, at `position` or, when it is null, where the file was written last.
 * Resolves with the count, which may be less than all.
 */
export function writevAsync(
  fd: number,
  parts: readonly Uint8Array[],
  position: number | null,
): Promise<number> {
  return counted(done =>
    position === null ? writev(fd, [...parts], done) : writev(fd, [...parts], position, done),
  );
}

function counted(start: (done: (error: Error | null, count: number) => void) => void): Promise<number> {
  return new Promise((resolve, reject) => {
    start((error, count) => (error === null ? resolve(count) : reject(error)));
  });
}
