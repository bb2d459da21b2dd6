/**
 * Compares `copyBytes` with `TypedArray.set` on 256 KiB of shared memory, where both begin at a multiple of 8
 * and where they do not.
 */
import { copyBytes } from '../../src/base/bytes.ts';
import { type Contender, contest, megabytesPerSecond } from '../contest.ts';
import type { Target, TargetSize } from '../target.ts';

const MIB = 1024 * 1024;
const COPY_BYTES: number = 256 * 1024;
/** Beyond the processor's nearest caches, as the memory of a pipeline is. */
const AREA_BYTES: number = 16 * MIB;

type Copy = (source: Uint8Array, target: Uint8Array) => void;

const WAYS: readonly (readonly [name: string, Copy])[] = [
  ['copyBytes', (source, target) => copyBytes(source, target)],
  ['set', (source, target) => target.set(source)],
  ['Buffer.copy', (source, target) => void Buffer.prototype.copy.call(source, target)],
  ['Buffer.fill', (source, target) => void Buffer.prototype.fill.call(target, source)],
];

/** Makes a contender that copies 256 KiB pieces from one area to another. */
function contender(name: string, copy: Copy, skewBytes: number, repeats: number): Contender {
  const source = new Uint8Array(new SharedArrayBuffer(AREA_BYTES)).fill(7);
  const target = new Uint8Array(new SharedArrayBuffer(AREA_BYTES + 8));
  const pieces = Array.from({ length: AREA_BYTES / COPY_BYTES }, (_, at) => {
    const from = at * COPY_BYTES;
    const to = from + skewBytes;
    return [source.subarray(from, from + COPY_BYTES), target.subarray(to, to + COPY_BYTES)] as const;
  });
  return {
    name,
    run: async () => {
      for (let round = 0; round < repeats; round += 1) for (const [from, to] of pieces) copy(from, to);
      if (target[skewBytes + AREA_BYTES - 1] !== 7) throw new Error(`${name} did not copy`);
    },
  };
}

async function measureSkew(size: TargetSize, skewBytes: number) {
  const [repeats, rounds] = size === 'real' ? [16, 9] : [1, 1];
  const all = WAYS.map(([name, copy]) => contender(name, copy, skewBytes, repeats));
  const result = await contest(all, rounds);
  const rates = [...result.seconds].map(([name, seconds]) => {
    const rate = megabytesPerSecond(repeats * AREA_BYTES, seconds) / 1000;
    return `${name} ${rate.toFixed(1)}`;
  });
  return { measured: result.ratio('copyBytes', 'set'), detail: `GB/s: ${rates.join(', ')}` };
}

export const copyBytesTarget: Target = {
  id: 'copy-bytes',
  about: 'copyBytes on shared memory, against TypedArray.set',
  measure: async size => {
    const rows = [];
    for (const [what, skewBytes, bound] of [
      ['aligned alike, of set', 0, 1],
      ['aligned differently, of set', 3, 3],
    ] as const) {
      const { measured, detail } = await measureSkew(size, skewBytes);
      rows.push({ what, measured, bound, sense: '>=', unit: 'x', detail } as const);
    }
    return rows;
  },
};
