/** Arguments of `node:fs` in all the forms that it takes: data, encodings, modes, times, paths. */
import { fileURLToPath } from 'node:url';
import { argumentError, requireInteger, requireObject, requireSignal } from '../../base/arguments.ts';
import { MIB } from '../../base/geometry.ts';
import { MODE_MAX, OWNER_MAX } from '../../server/sealed/inode.ts';

type Piece = string | NodeJS.ArrayBufferView;

/** What can be written to a file as a whole. */
export type FileData = Piece | Iterable<Piece> | AsyncIterable<Piece>;

/** The times that an inode can have, in seconds. */
const TIME_S_MAX: number = 2 ** 63 / 1e9;
/** Text is encoded in pieces of so many characters. */
const TEXT_PIECE: number = MIB;

/** Returns the bytes of a view, not a copy of them. EINVAL for anything else. */
export function viewBytes(argument: string, value: unknown): Uint8Array {
  if (value instanceof Uint8Array) return value;
  if (!ArrayBuffer.isView(value))
    throw argumentError(argument, 'a Buffer, a TypedArray or a DataView', value);
  return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
}

/** Yields the bytes of data, piece by piece. EINVAL for anything that is no data. */
export async function* dataPieces(data: unknown, encoding: BufferEncoding): AsyncGenerator<Uint8Array> {
  if (typeof data === 'string') {
    // Other encodings than UTF-8 take several characters for a byte.
    const isCut = (encoding === 'utf8' || encoding === 'utf-8') && data.length > TEXT_PIECE;
    if (!isCut) yield Buffer.from(data, encoding);
    else for (const piece of textPieces(data)) yield Buffer.from(piece, encoding);
    return;
  }
  if (ArrayBuffer.isView(data)) {
    yield viewBytes('data', data);
    return;
  }
  const isWalkable =
    typeof data === 'object' && data !== null && (Symbol.asyncIterator in data || Symbol.iterator in data);
  if (!isWalkable) throw argumentError('data', 'a string, a Buffer, or something that yields these', data);
  for await (const piece of data as AsyncIterable<unknown>) {
    yield typeof piece === 'string' ? Buffer.from(piece, encoding) : viewBytes('a piece of data', piece);
  }
}

function* textPieces(text: string): Generator<string> {
  for (let at = 0; at < text.length; ) {
    let end = Math.min(text.length, at + TEXT_PIECE);
    // Two halves of one character stay together.
    if (end < text.length && /[\ud800-\udbff]/.test(text.charAt(end - 1))) end += 1;
    yield text.slice(at, end);
    at = end;
  }
}

/** Returns the encoding that options ask for: text is one. Undefined for none, or for bytes. */
export function encodingOf(options: unknown): BufferEncoding | undefined {
  if (options === undefined || options === null) return undefined;
  let encoding: unknown = options;
  if (typeof options !== 'string') {
    requireObject('options', options);
    encoding = 'encoding' in options ? options.encoding : undefined;
  }
  if (encoding === undefined || encoding === null || encoding === 'buffer') return undefined;
  if (typeof encoding === 'string' && Buffer.isEncoding(encoding)) return encoding;
  throw argumentError('encoding', 'an encoding of Buffer', encoding);
}

/** True when options ask for names as bytes. */
export function wantsBytes(options: unknown): boolean {
  if (options === 'buffer') return true;
  return (
    typeof options === 'object' && options !== null && 'encoding' in options && options.encoding === 'buffer'
  );
}

/** Returns the signal of options. */
export function signalOf(options: unknown): AbortSignal | undefined {
  if (typeof options !== 'object' || options === null || !('signal' in options)) return undefined;
  requireSignal('options.signal', options.signal);
  return options.signal;
}

/** Returns permission bits: a number, or text in octal. */
export function toMode(value: unknown, byDefault?: number): number {
  const given = value ?? byDefault;
  const mode = typeof given === 'string' && /^[0-7]+$/.test(given) ? Number.parseInt(given, 8) : given;
  if (typeof mode === 'number' && Number.isInteger(mode) && mode >= 0) return mode & MODE_MAX;
  throw argumentError('mode', 'a whole number, or text in octal', value);
}

/** Returns a time in nanoseconds since 1970: given as a date, or in seconds. */
function toTimeNs(argument: string, value: unknown): bigint {
  if (value instanceof Date && !Number.isNaN(value.getTime())) return BigInt(value.getTime()) * 1_000_000n;
  const seconds = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
  if (typeof seconds === 'number' && Math.abs(seconds) < TIME_S_MAX) {
    // More digits than microseconds are not in a number of seconds.
    return BigInt(Math.round(seconds * 1e6)) * 1000n;
  }
  throw argumentError(argument, 'a Date, or seconds since 1970', value);
}

/** Returns the times that a program sets, as attributes of an inode. */
export function toTimes(
  atime: unknown,
  mtime: unknown,
): { readonly atimeNs: bigint; readonly mtimeNs: bigint } {
  return { atimeNs: toTimeNs('atime', atime), mtimeNs: toTimeNs('mtime', mtime) };
}

/** Returns the owner and group that a program sets, as attributes of an inode. */
export function toOwners(uid: unknown, gid: unknown): { readonly uid: number; readonly gid: number } {
  requireInteger('uid', uid, 0, OWNER_MAX);
  requireInteger('gid', gid, 0, OWNER_MAX);
  return { uid, gid };
}

/** Returns the path that a program gives: text, bytes, or a `file:` URL. */
export function toPath(argument: string, value: unknown): string | Uint8Array {
  if (typeof value === 'string' || value instanceof Uint8Array) return value;
  if (value instanceof URL && value.protocol === 'file:') return fileURLToPath(value);
  throw argumentError(argument, 'a path: text, a Buffer or a file: URL', value);
}
