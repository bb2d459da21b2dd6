/**
 * Checks of arguments, for the functions that programs call. TypeScript checks types at compile time only,
 * and ranges never: plain JavaScript, or a value that was computed, can pass anything.
 *
 * Every function here throws EINVAL unless the value is as it should be. The message names the argument and
 * shows the value. Check an argument before anything is changed. Inner loops check nothing.
 */
import { NetsealError } from './errors.ts';

const SHOWN_CHARACTERS_MAX = 80;

/** Returns a value as messages show it: short, on one line, printable. */
export function shownValue(value: unknown): string {
  if (value instanceof Uint8Array) return `${value.byteLength} bytes`;
  if (typeof value === 'string') return cut(JSON.stringify(value));
  if (typeof value === 'function') return 'a function';
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === 'object' && value !== null) return `an object (${cut(classOf(value))})`;
  return typeof value === 'bigint' ? `${value}n` : String(value);
}

function classOf(value: object): string {
  const made: unknown = value.constructor;
  return typeof made === 'function' && made.name !== '' ? made.name : 'no class';
}

function cut(text: string): string {
  return text.length > SHOWN_CHARACTERS_MAX ? `${text.slice(0, SHOWN_CHARACTERS_MAX)}…` : text;
}

/** Returns the error for an argument that is not what it must be. */
export function argumentError(name: string, needed: string, value: unknown): NetsealError {
  return new NetsealError('EINVAL', `${name} must be ${needed}, not ${shownValue(value)}`);
}

/** Requires a whole number from `min` to `max`. */
export function requireInteger(
  name: string,
  value: unknown,
  min = 0,
  max: number = Number.MAX_SAFE_INTEGER,
): asserts value is number {
  if (Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max) return;
  const most = max === Number.MAX_SAFE_INTEGER ? '2^53 - 1' : String(max);
  throw argumentError(name, `a whole number from ${min} to ${most}`, value);
}

/** Requires a finite number from `min` to `max`. */
export function requireNumber(
  name: string,
  value: unknown,
  min = 0,
  max: number = Number.MAX_VALUE,
): asserts value is number {
  if (typeof value === 'number' && value >= min && value <= max) return;
  const range = max === Number.MAX_VALUE ? `from ${min}` : `from ${min} to ${max}`;
  throw argumentError(name, `a number ${range}`, value);
}

/** Requires a `Uint8Array` (a `Buffer` is one), of exactly `lengthBytes` if given. */
export function requireBytes(
  name: string,
  value: unknown,
  lengthBytes?: number,
): asserts value is Uint8Array {
  if (value instanceof Uint8Array && (lengthBytes === undefined || value.byteLength === lengthBytes)) return;
  const needed = lengthBytes === undefined ? 'a Uint8Array' : `a Uint8Array of ${lengthBytes} bytes`;
  throw argumentError(name, needed, value);
}

export function requireText(name: string, value: unknown): asserts value is string {
  if (typeof value !== 'string') throw argumentError(name, 'a string', value);
}

/** Requires text, or the bytes of a name or path. */
export function requireTextOrBytes(name: string, value: unknown): asserts value is string | Uint8Array {
  if (typeof value === 'string' || value instanceof Uint8Array) return;
  throw argumentError(name, 'a string or a Uint8Array', value);
}

export function requireFlag(name: string, value: unknown): asserts value is boolean | undefined {
  if (value !== undefined && typeof value !== 'boolean') throw argumentError(name, 'true or false', value);
}

/** Requires a function, or nothing. */
export function requireCallback(name: string, value: unknown): void {
  if (value !== undefined && typeof value !== 'function') throw argumentError(name, 'a function', value);
}

/** Requires an object that is no list: options, settings or a handle. */
export function requireObject(name: string, value: unknown): asserts value is object {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return;
  throw argumentError(name, 'an object', value);
}

export function requireList(name: string, value: unknown): asserts value is readonly unknown[] {
  if (!Array.isArray(value)) throw argumentError(name, 'an array', value);
}

/** Requires a list, a set or anything else that can be walked through. Text does not count. */
export function requireIterable(name: string, value: unknown): asserts value is Iterable<unknown> {
  if (typeof value === 'object' && value !== null && Symbol.iterator in value) return;
  throw argumentError(name, 'an iterable', value);
}

/** Requires an instance of one of netseal's own classes. */
export function requireInstance<Instance>(
  name: string,
  value: unknown,
  of: { readonly name: string; readonly prototype: Instance & object },
): asserts value is Instance {
  const isInstance =
    typeof value === 'object' && Object.prototype.isPrototypeOf.call(of.prototype, value ?? {});
  if (!isInstance) throw argumentError(name, `a ${of.name}`, value);
}

/** Requires an object with these methods: what an interface asks for. */
export function requireMethods(
  name: string,
  value: unknown,
  methods: readonly string[],
): asserts value is object {
  requireObject(name, value);
  const missing = methods.find(method => typeof Reflect.get(value, method) !== 'function');
  if (missing !== undefined) throw argumentError(name, `an object with a method ${missing}`, value);
}

/** Requires an object of options, or nothing; and its `signal`, if it has one, to be an `AbortSignal`. */
export function requireOptions(name: string, value: unknown): void {
  if (value === undefined) return;
  requireObject(name, value);
  if ('signal' in value) requireSignal(`${name}.signal`, value.signal);
}

/** Requires an `AbortSignal`, of any copy of that class, or nothing. */
export function requireSignal(name: string, value: unknown): asserts value is AbortSignal | undefined {
  if (value === undefined) return;
  const isSignal =
    typeof value === 'object' && value !== null && 'aborted' in value && 'throwIfAborted' in value;
  if (!isSignal) throw argumentError(name, 'an AbortSignal', value);
}
