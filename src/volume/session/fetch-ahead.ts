/**
 * Reads the name nodes of many embedded directories together, level by level, before a walk comes to them.
 * They lie close together in few segments, so a few requests fetch what would otherwise be one request for
 * each directory. The nodes go into the session's cache, where the walk finds them.
 */
import { isNetsealError } from '../../base/errors.ts';
import type { Id } from '../../base/ids.ts';
import type { DirectoryEntry, DirectoryInode, NameChild, NameNode } from '../../server/sealed/inode.ts';
import { loadNodes } from '../../server/sealed/name-tree.ts';
import type { Session } from './session.ts';

/** How many sealed bytes one call reads ahead, at most. Half of what the cache holds. */
const AHEAD_BYTES: number = 4 * 1024 * 1024;

/** The nodes below which everything was read ahead. They need no second look while they stay in the cache. */
const DONE = new WeakSet<NameNode>();

interface Wanted {
  readonly directory: Id;
  readonly child: NameChild;
}

/**
 * Reads ahead what lies below some directories, up to a few MiB. Call it again on the way down: what did not
 * fit is read then. A node that cannot be read is left to the walk. Rejects with the signal's reason,
 * ECLOSED.
 */
export async function fetchAhead(
  { sealing, nameNodes }: Pick<Session, 'sealing' | 'nameNodes'>,
  directories: readonly Pick<DirectoryInode, 'id' | 'tree'>[],
  signal?: AbortSignal,
): Promise<void> {
  const looked: NameNode[] = [];
  let wanted: Wanted[] = [];
  for (const { id, tree } of directories) addBelow(id, tree, wanted, looked);
  let leftBytes = AHEAD_BYTES;
  while (wanted.length > 0) {
    const batch: Wanted[] = [];
    for (const item of wanted) {
      const { pointer } = item.child;
      if (nameNodes.get(pointer) === undefined) leftBytes -= pointer.lengthBytes;
      if (leftBytes < 0) break;
      batch.push(item);
    }
    const nodes = await loadNodes(sealing, nameNodes, batch, signal);
    if (batch.length < wanted.length) return;
    wanted = [];
    for (const [at, node] of nodes.entries()) {
      const directory = batch[at]?.directory;
      if (directory !== undefined && !isNetsealError(node)) addBelow(directory, node, wanted, looked);
    }
  }
  for (const node of looked) DONE.add(node);
}

/** Returns the embedded directories among some entries. */
export function embeddedIn(entries: readonly DirectoryEntry[]): DirectoryInode[] {
  return entries.flatMap(({ node }) =>
    node.kind === 'embedded' && node.inode.type === 'directory' ? [node.inode] : [],
  );
}

/** Adds the nodes one level below, those of embedded directories included, and all that it looked at. */
function addBelow(directory: Id, node: NameNode, wanted: Wanted[], looked: NameNode[]): void {
  if (DONE.has(node)) return;
  looked.push(node);
  if (node.kind === 'inner') {
    for (const child of node.children) wanted.push({ directory, child });
    return;
  }
  for (const { id, tree } of embeddedIn(node.entries)) addBelow(id, tree, wanted, looked);
}
