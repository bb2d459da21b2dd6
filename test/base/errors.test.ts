import { expect, it } from 'vitest';
import {
  codeOf,
  ERROR_CODES,
  type ErrorCode,
  isDamage,
  isLoss,
  isNetsealError,
  messageOf,
  NetsealError,
  systemCodeOf,
} from '../../src/base/errors.ts';
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

it('codes of netseal and of the system are told apart', () => {
  const ours = new NetsealError('ENOENT', 'x');
  const theirs = Object.assign(new Error('x'), { code: 'ENOENT', syscall: 'open' });
  expect([codeOf(ours), systemCodeOf(ours)]).toEqual(['ENOENT', undefined]);
  expect([codeOf(theirs), systemCodeOf(theirs)]).toEqual([undefined, 'ENOENT']);
  const others = [new Error('x'), Object.assign(new Error('x'), { code: 'ERR_X' }), 'ENOENT', undefined];
  for (const other of others) {
    expect([codeOf(other), systemCodeOf(other)]).toEqual([undefined, undefined]);
  }
});

it('damage is what wrong bytes cause; a loss is also what is missing or refused', () => {
  const codes = Object.keys(ERROR_CODES) as ErrorCode[];
  const damage = codes.filter(code => isDamage(new NetsealError(code, 'x')));
  const loss = codes.filter(code => isLoss(new NetsealError(code, 'x')));
  expect(damage).toEqual(['EFORMAT', 'ETRUNCATED', 'EAUTH', 'EUNSUPPORTED', 'EKEY']);
  expect(loss).toEqual(expect.arrayContaining([...damage, 'EMISSING', 'EFORK', 'EDENIED']));
  for (const code of ['ECLOSED', 'ECONFLICT', 'EUNAVAILABLE', 'EWORKER', 'EBUG', 'EINVAL']) {
    expect(loss).not.toContain(code);
  }
  expect(isDamage(Object.assign(new Error('x'), { code: 'EAUTH' }))).toBe(false);
  expect(isLoss(new Error('x'))).toBe(false);
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
