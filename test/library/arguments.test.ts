/**
 * Everything that the library exports takes wrong arguments with EINVAL, and calls after close with ECLOSED,
 * and changes nothing. The tables have a row for each function and method: one that is exported without a row
 * fails the first test.
 */
import { rm } from 'node:fs/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { codeOf } from '../../src/base/errors.ts';
import * as netseal from '../../src/index.ts';
import { type Objects, openObjects } from './argument-objects.ts';
import type { Row } from './argument-values.ts';
import { functionRows } from './function-rows.ts';
import { methodRows, type Subject } from './method-rows.ts';

let objects: Objects;
let subjects: Record<string, Subject> = {};
let functions: Record<string, Row> = {};

beforeAll(async () => {
  objects = await openObjects();
  subjects = methodRows(objects);
  functions = functionRows(objects);
});

afterAll(async () => {
  await rm(objects.folder, { recursive: true, force: true });
});

/** Calls a function or method, waits for what it returns, and takes the first item of a generator. */
async function outcome(call: () => unknown): Promise<string> {
  try {
    const result = await call();
    if (isGenerator(result)) await result.next();
    return 'no error';
  } catch (error) {
    // Open files say it as Node does.
    const isClosedFile =
      error instanceof Error && 'syscall' in error && codeOf(error.cause ?? error) !== 'EINVAL';
    if (isClosedFile && 'code' in error && error.code === 'EBADF') return 'ECLOSED';
    return codeOf(error) ?? String(error);
  }
}

function isGenerator(value: unknown): value is AsyncGenerator {
  return typeof value === 'object' && value !== null && Symbol.asyncIterator in value && 'next' in value;
}

function methodsOf(target: object): string[] {
  const names = Object.getOwnPropertyNames(Object.getPrototypeOf(target));
  return names.filter(name => {
    const descriptor = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(target), name);
    return name !== 'constructor' && typeof descriptor?.value === 'function';
  });
}

function callMethod(target: object, name: string, given: readonly unknown[]): unknown {
  return Reflect.apply(Reflect.get(target, name), target, given);
}

function callExport(name: string, given: readonly unknown[]): unknown {
  const exported: unknown = Reflect.get(netseal, name);
  if (typeof exported !== 'function') throw new Error(`no function ${name}`);
  return /^class\b/.test(Function.prototype.toString.call(exported))
    ? Reflect.construct(exported, given)
    : Reflect.apply(exported, undefined, given);
}

function shown(value: unknown): string {
  const text = JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'bigint' ? `${inner}n` : inner,
  );
  return (text ?? String(value)).slice(0, 120);
}

/** Calls with each wrong value in its place. Returns the calls that did not end with EINVAL. */
async function notRefused(
  what: string,
  { good, wrong }: Row,
  call: (given: unknown[]) => unknown,
): Promise<string[]> {
  const found: string[] = [];
  for (const [at, values] of wrong.entries()) {
    for (const value of values) {
      const given = Array.from({ length: Math.max(good.length, at + 1) }, (_, position) => good[position]);
      given[at] = value;
      const code = await outcome(() => call(given));
      if (code !== 'EINVAL')
        found.push(`${what}, argument ${at} = ${shown(value)} (${typeof value}): ${code}`);
    }
  }
  return found;
}

it('the table has every exported function, and every method of what they return', () => {
  const exported = Object.entries(netseal).flatMap(([name, value]) =>
    typeof value === 'function' ? [name] : [],
  );
  expect(Object.keys(functions).sort()).toEqual(exported.sort());
  for (const [name, { target, rows }] of Object.entries(subjects)) {
    expect([name, target.constructor.name]).toEqual([name, name]);
    expect([name, ...Object.keys(rows).sort()]).toEqual([name, ...methodsOf(target).sort()]);
  }
});

it('wrong arguments of functions are refused with EINVAL', async () => {
  const found: string[] = [];
  for (const [name, each] of Object.entries(functions)) {
    found.push(...(await notRefused(name, each, given => callExport(name, given))));
  }
  expect(found).toEqual([]);
});

it('wrong arguments of methods are refused with EINVAL, and nothing is changed', async () => {
  const before = await objects.storedKeys();
  const found: string[] = [];
  for (const [name, { target, rows }] of Object.entries(subjects)) {
    for (const [method, each] of Object.entries(rows)) {
      found.push(
        ...(await notRefused(`${name}.${method}`, each, given => callMethod(target, method, given))),
      );
    }
  }
  expect(found).toEqual([]);
  expect(await objects.storedKeys()).toEqual(before);
});

it('a message says which argument is wrong, and shows what was given', async () => {
  const reader = subjects.FileReader?.target ?? {};
  await expect(async () => callMethod(reader, 'read', [new Uint8Array(4), -20])).rejects.toThrow(
    'offsetBytes must be a whole number from 0 to 2^53 - 1, not -20',
  );
  await expect(async () => callMethod(reader, 'read', ['text', 0])).rejects.toThrow(
    'into must be a Uint8Array, not "text"',
  );
});

/** Objects that nothing closes, and methods that may be called at any time. */
const NEVER_CLOSED = ['Lease', 'ResultBatch', 'Tally', 'StoreMeter', 'ThreadReader', 'VolumeHeader'];
const ALWAYS = ['close', 'destroy', 'flush'];

it('calls after close fail with ECLOSED', async () => {
  await objects.closeAll();
  const found: string[] = [];
  for (const [name, { target, rows, afterClose = [] }] of Object.entries(subjects)) {
    const methods = NEVER_CLOSED.includes(name) ? [] : Object.entries(rows);
    for (const [method, { good }] of methods) {
      const isFree = afterClose.includes(method) || (ALWAYS.includes(method) && name !== 'Cache');
      const code = isFree ? 'ECLOSED' : await outcome(() => callMethod(target, method, good));
      if (code !== 'ECLOSED') found.push(`${name}.${method} after close: ${code}`);
    }
  }
  expect(found).toEqual([]);
});
