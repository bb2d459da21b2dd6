/**
 * Sealed nodes (leaves of name trees, pages of extent maps) that are kept on this machine, as the sealed layout
 * sees them. Segments hold the same bytes; what is kept saves a request.
 */
import type { ControlAt } from './control.ts';

/** The place that a node is sealed for. */
export interface NodeAt extends ControlAt {
  readonly kind: 'mapPage' | 'directoryLeaf';
}

/** One version of a node. */
export interface NodeVersion {
  readonly at: NodeAt;
  /** 16 bytes. */
  readonly tag: Uint8Array;
}

export interface NodeRecords {
  /**
   * Reads records. Returns each, as its caller's own; undefined for one that is not kept. Lengths and tags are
   * right; whether the bytes between are, opening tells. Never rejects.
   */
  read(
    wanted: readonly (NodeVersion & { readonly lengthBytes: number })[],
  ): Promise<(Uint8Array | undefined)[]>;

  /** Keeps records, whose bytes are the caller's again at once. Never throws. */
  keep(records: readonly { readonly at: NodeAt; readonly bytes: Uint8Array }[]): void;

  /** Forgets a version that does not open. Never throws. */
  drop(version: NodeVersion): void;
}
