/** netseal's public surface. */
export { ERROR_CODES, type ErrorCode, isNetsealError, NetsealError } from './base/errors.ts';
