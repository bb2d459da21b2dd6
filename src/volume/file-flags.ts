/** The flags of `open`, as Node has them. */
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

/** Returns what flags mean. EINVAL for any that Node does not have as text. */
export function parseFlags(flags: unknown): FileFlags {
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
