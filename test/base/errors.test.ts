import { expect, it } from 'vitest';
import { ERROR_CODES, isNetsealError, messageOf, NetsealError } from '../../src/base/errors.ts';
import { randomBytes } from '../../src/base/random.ts';

it('an error carries its code and cause', () => {
  const cause = new Error('below');
  const error = new NetsealError('EAUTH', 'damaged', { cause });
  expect(error).toMatchObject({ name: 'NetsealError', code: 'EAUTH', message: 'damaged', cause });
  expect(error).toBeInstanceOf(Error);
  expect('cause' in new NetsealError('EAUTH', 'damaged')).toBe(false);
});

it('told by code and name, so that two copies of the library can meet', () => {
  const foreign = Object.assign(new Error('x'), { name: 'NetsealError', code: 'EFORMAT' });
  expect(isNetsealError(foreign)).toBe(true);
  expect(isNetsealError(new NetsealError('EBUG', 'x'))).toBe(true);
  for (const other of [
    new Error('x'),
    Object.assign(new Error('x'), { code: 'EAUTH' }),
    Object.assign(new Error('x'), { name: 'NetsealError' }),
    Object.assign(new Error('x'), { name: 'NetsealError', code: 'ENOSPC' }),
    { name: 'NetsealError', code: 'EAUTH' },
    null,
    undefined,
    'EAUTH',
  ]) {
    expect(isNetsealError(other)).toBe(false);
  }
});

it('names of Object.prototype are no codes', () => {
  expect(isNetsealError(Object.assign(new Error('x'), { name: 'NetsealError', code: 'toString' }))).toBe(
    false,
  );
});

it('every code says what to do', () => {
  for (const [code, advice] of Object.entries(ERROR_CODES)) {
    expect(code).toMatch(/^E[A-Z]+$/);
    expect(advice.length).toBeGreaterThan(10);
  }
});

it('the message of anything', () => {
  expect(messageOf(new Error('x'))).toBe('x');
  expect(messageOf('y')).toBe('y');
  expect(messageOf(undefined)).toBe('undefined');
});

it('random bytes are as many as asked for, and not twice the same', () => {
  expect(randomBytes(0).byteLength).toBe(0);
  const [one, two] = [randomBytes(32), randomBytes(32)];
  expect(one.byteLength).toBe(32);
  expect(one).not.toEqual(two);
  expect([...randomBytes(3, target => target.fill(7))]).toEqual([7, 7, 7]);
});
