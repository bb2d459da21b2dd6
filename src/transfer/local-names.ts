/** Local names: how messages show them, and which may be written. */
import { randomBytes } from 'node:crypto';
import { NetsealError } from '../base/errors.ts';
import type { Name } from '../base/name.ts';
import { NAME_BYTES_MAX } from '../server/sealed/inode-body.ts';
import { nameBytes } from '../volume/names/name-checks.ts';

const PLAIN_ASCII = /^[ -[\]-~]*$/;
/**
 * Characters that cannot be shown: controls, unassigned and private ones, and blanks other than the space.
 */
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}\\]|[^\S ]/u;

/**
 * Returns a name or path for messages: its UTF-8 text, with `\\` for a backslash, and `\xNN` for each byte
 * that is no text or cannot be printed. Different names look different.
 */
export function showName(name: Name): string {
  if (PLAIN_ASCII.test(name)) return name;
  const bytes = nameBytes(name);
  let shown = '';
  for (let at = 0; at < bytes.length; ) {
    const length = sequenceLength(bytes, at);
    const part = bytes.subarray(at, at + Math.max(1, length));
    const text = length === 0 ? '' : part.toString('utf8');
    if (text === '\\') shown += '\\\\';
    else if (text === '' || UNPRINTABLE.test(text)) shown += escapeBytes(part);
    else shown += text;
    at += part.length;
  }
  return shown;
}

const DECODER = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Returns the text of a name; undefined when it is not UTF-8. */
export function textOfName(name: Name): string | undefined {
  try {
    return DECODER.decode(nameBytes(name));
  } catch {
    return undefined;
  }
}

/** Returns the length in bytes of the UTF-8 sequence at `at`; 0 when there is none. */
function sequenceLength(bytes: Buffer, at: number): number {
  const lead = bytes[at] ?? 0;
  if (lead < 0x80) return 1;
  const length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  try {
    DECODER.decode(bytes.subarray(at, at + length));
    return length;
  } catch {
    return 0;
  }
}

function escapeBytes(bytes: Uint8Array): string {
  return [...bytes].map(byte => `\\x${byte.toString(16).padStart(2, '0')}`).join('');
}

/** Joins a folder's path and a name, for messages and for paths. */
export function joinPath(folder: Name, name: Name): Name {
  return folder.endsWith('/') ? folder + name : `${folder}/${name}`;
}

// The é, in its composed or decomposed form, is in the names of the files that `probeFolding` makes.
const PARTIAL = /^\.netseal-[0-9a-f]{24}(-\xc3\xa9|-e\xcc\x81|-resume)?\.partial$/;
const RESUMABLE = /^\.netseal-[0-9a-f]{24}-resume\.partial$/;
const RUN = randomBytes(8).toString('hex');
let partialCount = 0;

/** Returns a new name for an unfinished file: `.netseal-<24 hexadecimal digits>.partial`. */
export function partialName(): Name {
  partialCount += 1;
  return `.netseal-${RUN}${partialCount.toString(16).padStart(8, '0')}.partial`;
}

/** Returns a new name for an unfinished file that another run may go on with: see {@link isResumableName}. */
export function resumableName(): Name {
  return partialName().replace(/\.partial$/, '-resume.partial');
}

/** True for a name made by {@link resumableName}, in this process or another. */
export function isResumableName(name: Name): boolean {
  return RESUMABLE.test(name);
}

/** True for a name of an unfinished file, made by this process or another. */
export function isPartialName(name: Name): boolean {
  return name.startsWith('.netseal-') && PARTIAL.test(name);
}

/** True when this process made the name. */
export function isOwnPartialName(name: Name): boolean {
  return name.startsWith(`.netseal-${RUN}`) && PARTIAL.test(name);
}

// A character beyond U+00FF would lose its high byte, and could become a slash.
const NOT_IN_COMPONENT = /[\0/\u0100-\uffff]/;

/**
 * True when `name` is one component of a path: not empty, `.` or `..`, without `/` and zero bytes, at most
 * `maxBytes` long. For a file that is to be written, use {@link checkTargetName}.
 */
export function isComponent(name: Name, maxBytes: number = NAME_BYTES_MAX): boolean {
  return (
    name !== '' && name !== '.' && name !== '..' && name.length <= maxBytes && !NOT_IN_COMPONENT.test(name)
  );
}

/**
 * Throws EINVAL unless a file of this name can be written: it must be one component, and no name that netseal
 * gives to unfinished files.
 */
export function checkTargetName(name: Name): void {
  if (!isComponent(name))
    throw new NetsealError('EINVAL', `a file here cannot have this name: '${showName(name)}'`);
  if (isPartialName(name))
    throw new NetsealError('EINVAL', `the name is kept for unfinished files: '${showName(name)}'`);
}
