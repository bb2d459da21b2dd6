import { expect } from 'vitest';
import { type ErrorCode, isNetsealError } from '../../src/base/errors.ts';

/** The code of the NetsealError that `action` throws; fails when it throws nothing or anything else. */
export function errorCodeOf(action: () => unknown): ErrorCode {
  try {
    action();
  } catch (error) {
    if (isNetsealError(error)) return error.code;
    throw error;
  }
  return expect.fail('nothing was thrown');
}
