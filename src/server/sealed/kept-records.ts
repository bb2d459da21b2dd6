/**
 * Sealed records that are kept on this machine, as the sealed layout sees them: nodes (leaves of name trees,
 * pages of extent maps) and content (units and packs). Segments hold the same bytes; what is kept saves a
 * request.
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
   * Reads records. Returns each, as its caller's own; undefined for one that is not kept. Lengths and tags
   * are right; whether the bytes between are, opening tells. Never rejects.
   */
  read(
    wanted: readonly (NodeVersion & { readonly lengthBytes: number })[],
  ): Promise<(Uint8Array | undefined)[]>;

  /** Keeps records, whose bytes are the caller's again at once. Never throws. */
  keep(records: readonly { readonly at: NodeAt; readonly bytes: Uint8Array }[]): void;

  /** Forgets a version that does not open. Never throws. */
  drop(version: NodeVersion): void;
}

/** One version of a unit or a pack: the place that it was sealed for, and its tag. */
export interface ContentVersion {
  /** 16 bytes: the file's id, or the pack's. */
  readonly objectId: Uint8Array;
  /** 0 for a pack. */
  readonly index: number;
  /** 16 bytes. */
  readonly tag: Uint8Array;
}

export interface ContentRecords {
  /**
   * Reads records, each into memory as long as it is. Returns which of them are there. Length and tag of each
   * are right. Only opening tells whether the bytes between are. Never rejects.
   */
  read(wanted: readonly (ContentVersion & { readonly into: Uint8Array })[]): Promise<readonly boolean[]>;

  /** Keeps records, whose bytes are the caller's again at once. Never throws. */
  keep(records: readonly (ContentVersion & { readonly bytes: Uint8Array })[]): void;

  /** Forgets a version that does not open. Never throws. */
  drop(version: ContentVersion): void;
}
