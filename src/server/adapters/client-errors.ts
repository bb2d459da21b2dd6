/**
 * What an error of somebody's storage client means to a store: a NetsealError whose code says what the caller can do.
 * Clients of HTTP services put the status of the answer into their errors, others a code of the operating system.
 * Pure.
 */
import { type ErrorCode, isNetsealError, messageOf, NetsealError } from '../../base/errors.ts';

/** What a call does. An answer that was lost matters only after a change. */
export type ClientCall = 'read' | 'change';

/** Codes of Node and of the system, for requests that never reached the server. */
const NEVER_SENT: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'EHOSTDOWN',
  'ENETUNREACH',
  'ENETDOWN',
]);

const CODE_OF_SYSTEM_CODE: Readonly<Record<string, ErrorCode>> = {
  ENOENT: 'EMISSING',
  EACCES: 'EDENIED',
  EPERM: 'EDENIED',
  EROFS: 'EDENIED',
  ENOSPC: 'EFULL',
  EDQUOT: 'EFULL',
};

const CODE_OF_STATUS: Readonly<Record<number, ErrorCode>> = {
  401: 'EDENIED',
  403: 'EDENIED',
  404: 'EMISSING',
  405: 'EUNSUPPORTED',
  // Another change of the same object was under way, and this one was not made.
  409: 'EUNAVAILABLE',
  410: 'EMISSING',
  412: 'ECONFLICT',
  413: 'EINVAL',
  423: 'EUNAVAILABLE',
  429: 'EUNAVAILABLE',
  501: 'EUNSUPPORTED',
  503: 'EUNAVAILABLE',
  507: 'EFULL',
};

/** The server has waited for the rest of the request. */
const REQUEST_TIMEOUT = 408;

/**
 * Returns the error to throw in place of `error`. A NetsealError is returned as it is.
 *
 * @param code what the client itself knows the error to mean. Default: what its status or its system's code tells.
 */
export function clientError(
  store: string,
  key: string,
  call: ClientCall,
  error: unknown,
  code?: ErrorCode | undefined,
): NetsealError {
  if (isNetsealError(error)) return error;
  const meaning = code ?? codeOfClientError(error, call);
  const id = requestIdOf(error);
  const where = key === '' ? '' : `: ${key}`;
  const text = meaning === 'EMISSING' ? 'no such object' : textOf(error);
  return new NetsealError(meaning, `${store}: ${text}${where}${id === undefined ? '' : ` (request ${id})`}`, {
    cause: error,
    path: key,
  });
}

/** Returns what an error means by its HTTP status, else by its system's code, else that nobody knows. */
export function codeOfClientError(error: unknown, call: ClientCall): ErrorCode {
  const status = statusOf(error);
  if (status !== undefined) {
    const isRefused = status >= 400 && status < 500 && status !== REQUEST_TIMEOUT;
    return CODE_OF_STATUS[status] ?? (isRefused ? 'EIO' : lost(call));
  }
  const code = textField(error, 'code') ?? textField(fieldOf(error, 'cause'), 'code') ?? '';
  const known = CODE_OF_SYSTEM_CODE[code];
  if (known !== undefined) return known;
  return NEVER_SENT.has(code) ? 'EUNAVAILABLE' : lost(call);
}

/** An answer that did not come, or tells nothing. */
function lost(call: ClientCall): ErrorCode {
  return call === 'read' ? 'EUNAVAILABLE' : 'EUNCERTAIN';
}

/** Returns the HTTP status that an error of a client carries, wherever the known clients put it. */
export function statusOf(error: unknown): number | undefined {
  const places = [
    fieldOf(fieldOf(error, '$metadata'), 'httpStatusCode'),
    fieldOf(error, 'statusCode'),
    fieldOf(error, 'status'),
    fieldOf(fieldOf(error, 'response'), 'status'),
  ];
  return places.find(place => typeof place === 'number' && place >= 300 && place <= 599) as
    | number
    | undefined;
}

/** Returns an error's message or, where a library has none, what it calls the error. */
function textOf(error: unknown): string {
  const message = messageOf(error);
  if (message !== '' && message !== 'UnknownError') return message;
  const status = statusOf(error);
  return (
    textField(error, 'Code') ??
    textField(error, 'name') ??
    (status === undefined ? message : `status ${status}`)
  );
}

function requestIdOf(error: unknown): string | undefined {
  return textField(fieldOf(error, '$metadata'), 'requestId');
}

function fieldOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}

function textField(value: unknown, name: string): string | undefined {
  const field = fieldOf(value, name);
  return typeof field === 'string' && field !== '' ? field : undefined;
}
