/** The attributes of something new in a volume. It belongs to the user who makes it. */
import type { Attributes } from '../server/sealed/inode.ts';

/** Returns attributes with this process's user and group, the time now, and no extended attributes. */
export function newAttributes(mode: number): Attributes {
  return {
    mode,
    uid: process.getuid?.() ?? 0,
    gid: process.getgid?.() ?? 0,
    mtimeNs: BigInt(Date.now()) * 1_000_000n,
    xattrs: [],
  };
}
