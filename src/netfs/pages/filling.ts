/**
 * Frames for bytes that are yet to come: what workers write to while no entry names it, so that no reader
 * ever looks at a frame that somebody else than the thread of the page cache writes to.
 *
 *   reserve ──▶ being filled ──insert──▶ frames of entries
 *                    └────────release──▶ free
 */
import { NetsealError } from '../../base/errors.ts';
import { BLOCK_BYTES, isFollowed, offsetOf, type PageMemory, slabOf } from './page-memory.ts';
import type { PageRoom } from './page-room.ts';
import type { Filling } from './pages.ts';

export class FrameFilling implements Filling {
  readonly parts: readonly Uint8Array<SharedArrayBuffer>[];
  readonly #room: PageRoom;
  readonly #lengthBytes: number;
  /** In the order of the bytes. Empty once they were given back or taken by `insert`. */
  #frames: readonly number[];

  constructor(memory: PageMemory, room: PageRoom, frames: readonly number[], lengthBytes: number) {
    this.#room = room;
    this.#frames = frames;
    this.#lengthBytes = lengthBytes;
    this.parts = partsOf(memory, frames, lengthBytes);
  }

  get lengthBytes(): number {
    return this.#lengthBytes;
  }

  /** Takes the frames. They are the caller's. EBUG when they are gone already, or another page cache's. */
  takeFrames(room: PageRoom): readonly number[] {
    const frames = this.#frames;
    if (room !== this.#room || frames.length === 0) {
      throw new NetsealError('EBUG', 'memory that was filled is inserted twice, or elsewhere');
    }
    this.#frames = [];
    return frames;
  }

  release(): void {
    const frames = this.#frames;
    this.#frames = [];
    for (const frame of frames) this.#room.endFilling(frame, true);
  }
}

/** Takes frames for `lengthBytes`, side by side if possible. Undefined when there are not enough. */
export function reserveFilling(
  memory: PageMemory,
  room: PageRoom,
  lengthBytes: number,
): FrameFilling | undefined {
  const count = Math.ceil(lengthBytes / BLOCK_BYTES);
  const frames: number[] = [];
  while (frames.length < count) {
    const frame = room.takeFilling(frames.at(-1) ?? -1, count - frames.length);
    if (frame < 0) {
      for (const taken of frames) room.endFilling(taken, true);
      return undefined;
    }
    frames.push(frame);
  }
  return new FrameFilling(memory, room, frames, lengthBytes);
}

function partsOf(
  memory: PageMemory,
  frames: readonly number[],
  lengthBytes: number,
): Uint8Array<SharedArrayBuffer>[] {
  const parts: Uint8Array<SharedArrayBuffer>[] = [];
  for (let at = 0; at < frames.length; ) {
    const first = frames[at] ?? 0;
    let last = first;
    let next = at + 1;
    while (frames[next] === last + 1 && isFollowed(last)) {
      last += 1;
      next += 1;
    }
    const bytes = Math.min((next - at) * BLOCK_BYTES, lengthBytes - at * BLOCK_BYTES);
    const offset = offsetOf(first);
    parts.push(slabOf(memory, first).subarray(offset, offset + bytes));
    at = next;
  }
  return parts;
}
