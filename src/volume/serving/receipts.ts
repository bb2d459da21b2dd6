/** The receipts of the sealed layout: where a record lies, for netfs. */

import { NetsealError } from '../../base/errors.ts';
import { type Id, idBytes } from '../../base/ids.ts';
import type { Receipt, ReceiptOrigin, ReceiptSlice } from '../../netfs/server.ts';
import { isSamePointer, isSlicePointer, type Pointer } from '../../server/sealed/pointer.ts';

/** What all receipts of one segment hold. */
export interface SegmentClaim {
  readonly segment: Id;
  /** Its receipts that were not committed, those that netfs has given up included. */
  pendingCount: number;
}

export class SealedReceipt implements Receipt {
  /** The unit that it was located at, or written for. */
  readonly unit: number;
  readonly pointer: Pointer;
  readonly origin: ReceiptOrigin | undefined;
  readonly slice: ReceiptSlice | undefined;
  /** Keeps the segment of a record that this session has written. Undefined for one that was located. */
  readonly claim: SegmentClaim | undefined;
  isCommitted: boolean;

  constructor(unit: number, pointer: Pointer, claim?: SegmentClaim) {
    this.unit = unit;
    this.pointer = pointer;
    this.claim = claim;
    this.isCommitted = claim === undefined;
    const { origin } = pointer;
    this.origin = origin && { objectId: idBytes(origin.objectId), index: origin.index };
    this.slice = isSlicePointer(pointer)
      ? { ...pointer.slice, packId: idBytes(pointer.slice.packId) }
      : undefined;
  }

  get tag(): Uint8Array {
    return this.pointer.tag;
  }

  get lengthBytes(): number {
    return this.pointer.lengthBytes;
  }
}

/** Returns a receipt with the type of this server. EINVAL for a receipt that another server has made. */
export function requireReceipt(receipt: Receipt): SealedReceipt {
  if (receipt instanceof SealedReceipt) return receipt;
  throw new NetsealError('EINVAL', 'this is not a receipt of the sealed layout');
}

/** True when both name the same bytes, wherever these lie; in a pack, the same slice of it. */
export function haveSameBytes(left: Pointer | undefined, right: Pointer | undefined): boolean {
  if (left === undefined || right === undefined) return left === right;
  const { segment, offsetBytes } = left;
  return isSamePointer(left, { ...right, segment, offsetBytes });
}
