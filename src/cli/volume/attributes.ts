/** What is new in a volume belongs to the user who made it. */
import type { Attributes } from '../../server/sealed/inode.ts';

/** The process's user and group, the time now, no extended attributes. */
export function newAttributes(mode: number): Attributes {
  return {
    mode,
    uid: process.getuid?.() ?? 0,
    gid: process.getgid?.() ?? 0,
    mtimeNs: BigInt(Date.now()) * 1_000_000n,
    xattrs: [],
  };
}
