/**
 * Reads the name nodes of many embedded directories together, level by level, before a walk comes to them.
 * They lie close together in few segments, so a few requests fetch what would otherwise be one request for
 * each directory. The nodes go into the session's cache, where the walk finds them.
 */
import { isNetsealError } from '../../base/errors.ts';
import type { Id } from '../../base/ids.ts';
import type { DirectoryInode, NameChild, NameNode } from '../../server/sealed/inode.ts';
import { loadNodes } from '../../server/sealed/name-tree.ts';
import type { Session } from './session.ts';

/** How many sealed bytes one call reads ahead, at most. Half of what the cache holds. */
const AHEAD_BYTES: number = 4 * 1024 * 1024;

/** The nodes whose children were read ahead. They need no second look while they stay in the cache. */
const SEEN = new WeakSet<NameNode>();

interface Wanted {
  readonly directory: Id;
  readonly child: NameChild;
}

/** Reads ahead what lies below a directory. A node that cannot be read is left to the walk. */
export async function fetchAhead(
  session: Pick<Session, 'sealing' | 'nameNodes'>,
  { id, tree }: DirectoryInode,
  signal?: AbortSignal,
): Promise<void> {
  let wanted: Wanted[] = [];
  addBelow(id, tree, wanted);
  let leftBytes = AHEAD_BYTES;
  while (wanted.length > 0 && leftBytes > 0) {
    const batch: Wanted[] = [];
    for (const item of wanted) {
      if (leftBytes <= 0) break;
      leftBytes -= item.child.pointer.lengthBytes;
      batch.push(item);
    }
    const nodes = await loadNodes(session.sealing, session.nameNodes, batch, signal);
    wanted = [];
    for (const [at, node] of nodes.entries()) {
      const from = batch[at];
      if (from !== undefined && !isNetsealError(node)) addBelow(from.directory, node, wanted);
    }
  }
}

/** Adds the nodes one level below, those of embedded directories included. */
function addBelow(directory: Id, node: NameNode, wanted: Wanted[]): void {
  if (SEEN.has(node)) return;
  SEEN.add(node);
  if (node.kind === 'inner') {
    for (const child of node.children) wanted.push({ directory, child });
    return;
  }
  for (const { node: below } of node.entries) {
    if (below.kind === 'embedded' && below.inode.type === 'directory') {
      addBelow(below.inode.id, below.inode.tree, wanted);
    }
  }
}
