/**
 * A cache of tree nodes that were read or written lately. Segments never change, so a node is known by its
 * place.
 */
import { type Pointer, recordKey } from './pointer.ts';

/** Bound of the sealed bytes of all cached nodes. Decoded, they take several times as much memory. */
const CACHE_BYTES_DEFAULT = 8 * 1024 * 1024;

export class NodeCache<Node> {
  readonly #nodes = new Map<string, { readonly node: Node; readonly bytes: number }>();
  readonly #maxBytes: number;
  #bytes = 0;

  constructor(maxBytes: number = CACHE_BYTES_DEFAULT) {
    this.#maxBytes = maxBytes;
  }

  get(pointer: Pointer): Node | undefined {
    const key = recordKey(pointer);
    const found = this.#nodes.get(key);
    if (found === undefined) return undefined;
    this.#nodes.delete(key);
    this.#nodes.set(key, found);
    return found.node;
  }

  set(pointer: Pointer, node: Node): void {
    const key = recordKey(pointer);
    if (this.#nodes.has(key)) return;
    this.#nodes.set(key, { node, bytes: pointer.lengthBytes });
    this.#bytes += pointer.lengthBytes;
    for (const [oldKey, old] of this.#nodes) {
      if (this.#bytes <= this.#maxBytes) break;
      this.#nodes.delete(oldKey);
      this.#bytes -= old.bytes;
    }
  }
}
