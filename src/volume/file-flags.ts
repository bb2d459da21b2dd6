/** The flags of `open`, as Node has them. */
import { constants } from 'node:fs';
import { argumentError } from '../base/arguments.ts';

/** How a file is opened. */
export interface FileFlags {
  readonly isReadable: boolean;
  readonly isWritable: boolean;
  /** Makes a file where none is. */
  readonly creates: boolean;
  /** EEXIST where a file is. */
  readonly isExclusive: boolean;
  /** Empties a file that is there. */
  readonly truncates: boolean;
  readonly isAppending: boolean;
  readonly isSynchronous: boolean;
}

/** The flags that `open` takes. */
export type OpenFlags =
  | 'r'
  | 'r+'
  | 'rs+'
  | 'w'
  | 'w+'
  | 'wx'
  | 'wx+'
  | 'a'
  | 'a+'
  | 'ax'
  | 'ax+'
  | 'as'
  | 'as+';

const FLAGS = /^(?<first>[rwa])(?<x>x?)(?<s>s?)(?<plus>\+?)$/;

/**
 * Returns what flags mean: text as Node has it, or a number made of `constants` of `node:fs`. EINVAL for any
 * other.
 */
export function parseFlags(flags: unknown): FileFlags {
  if (typeof flags === 'number') return parseNumber(flags);
  const { first, x, s, plus } = (typeof flags === 'string' ? FLAGS.exec(flags)?.groups : undefined) ?? {};
  const isMeant =
    first === 'a' ? x === '' || s === '' : first === 'w' ? s === '' : x === '' && (s === '' || plus === '+');
  if (first === undefined || !isMeant) throw argumentError('flags', "as Node's: r, r+, w, wx, a, ...", flags);
  return {
    isReadable: first === 'r' || plus === '+',
    isWritable: first !== 'r' || plus === '+',
    creates: first !== 'r',
    isExclusive: x === 'x',
    truncates: first === 'w',
    isAppending: first === 'a',
    isSynchronous: s === 's',
  };
}

const ACCESS = 3;
/** Flags that make no difference here. */
const IGNORED = constants.O_NOCTTY | constants.O_NONBLOCK;

function parseNumber(flags: number): FileFlags {
  const { O_RDONLY, O_WRONLY, O_RDWR, O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_SYNC, O_DSYNC } = constants;
  const access = flags & ACCESS;
  const isAccess = access === O_RDONLY || access === O_WRONLY || access === O_RDWR;
  const known = ACCESS | O_CREAT | O_EXCL | O_TRUNC | O_APPEND | O_SYNC | O_DSYNC | IGNORED;
  if (!Number.isInteger(flags) || !isAccess || (flags & ~known) !== 0) {
    throw argumentError('flags', 'made of constants of node:fs', flags);
  }
  const has = (bit: number): boolean => (flags & bit) !== 0;
  const isWritable = access !== O_RDONLY;
  return {
    isReadable: access !== O_WRONLY,
    isWritable,
    creates: has(O_CREAT),
    isExclusive: has(O_CREAT) && has(O_EXCL),
    truncates: isWritable && has(O_TRUNC),
    isAppending: has(O_APPEND),
    isSynchronous: has(O_SYNC) || has(O_DSYNC),
  };
}
