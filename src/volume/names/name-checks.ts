/** Checks and converts names and paths. They are raw bytes and never normalised. */
import { requireBytes, requireText } from '../../base/arguments.ts';
import { requireArgument } from '../../base/errors.ts';
import type { Name } from '../../base/name.ts';
import { NAME_BYTES_MAX } from '../../server/sealed/inode-body.ts';

/**
 * Returns text as its UTF-8 bytes, and bytes as they are. EINVAL for text that is not Unicode, and for any
 * other value.
 */
export function toBytesName(name: string | Uint8Array): Name {
  if (typeof name !== 'string') {
    requireBytes('a name or path', name);
    return Buffer.from(name.buffer, name.byteOffset, name.byteLength).toString('latin1');
  }
  requireArgument(name.isWellFormed(), `not Unicode: ${JSON.stringify(name)}`);
  return Buffer.from(name).toString('latin1');
}

/** Returns the bytes of a name; the caller owns them. */
export function nameBytes(name: Name): Buffer<ArrayBuffer> {
  requireText('name', name);
  return Buffer.from(name, 'latin1');
}

/** Throws EINVAL unless this can be a name: 1 to 255 bytes, no NUL, no `/`, not `.` or `..`. */
export function checkName(name: Name): void {
  const shown = JSON.stringify(name).slice(0, 300);
  requireArgument(name.length > 0, 'a name is empty');
  requireArgument(
    name.length <= NAME_BYTES_MAX,
    `a name has ${name.length} bytes, more than ${NAME_BYTES_MAX}: ${shown}`,
  );
  requireArgument(!/[\0/]/.test(name), `a name must hold no NUL and no "/": ${shown}`);
  requireArgument(name !== '.' && name !== '..', `${shown} cannot be a name`);
}

/**
 * Returns the names of a path. Empty parts are left out: `/a//b/` is `/a/b`, and `/` is the root. EINVAL for
 * `..`, which a shell resolves in another way, and for anything that cannot be a name.
 */
export function parsePath(path: string | Uint8Array): Name[] {
  const names = toBytesName(path)
    .split('/')
    .filter(part => part !== '' && part !== '.');
  for (const name of names) checkName(name);
  return names;
}

/**
 * True when a path ends in `/` or `/.`: as in POSIX, it then leads to a folder or nowhere. A symlink at its
 * end is followed.
 */
export function endsInFolder(path: string | Uint8Array): boolean {
  return /(^|\/)\.?$/.test(toBytesName(path));
}
