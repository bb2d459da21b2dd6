/**
 * Portable zstd by `zstd-codec`. Its WebAssembly build has a fixed heap of 16 MiB, too small for large units and high
 * levels, and a heap that overflows kills the instance. So there are two: the WebAssembly one for what surely fits,
 * and the slower JavaScript build, whose heap can be chosen, for the rest. Both are one instance a thread, and both are
 * made at the start, for neither can be made without waiting: together about 60 ms and 12 MiB. The package's own entry
 * point can choose neither build nor heap, hence the bindings below it.
 */
import { createRequire } from 'node:module';
import { NetsealError } from '../base/errors.ts';
import { KIB, MIB } from '../base/geometry.ts';
import type { CodecProvider } from './codec.ts';
import { checkZstdFrame } from './zstd-frame.ts';

/** What surely fits the 16 MiB heap; tests go to these edges with incompressible data. */
const SMALL_HEAP = { compressBytes: 256 * KIB, compressLevel: 9, decompressBytes: 4 * MIB };
/** Level 19 on 16 MiB fits; tests hold it to that. Untouched heap costs no memory. */
const LARGE_HEAP_BYTES = 256 * MIB;

/** The part of `zstd-codec`'s bindings (which ship no types) that is used here. */
interface Binding {
  onRuntimeInitialized?: () => void;
  TOTAL_MEMORY?: number;
  VectorU8: new () => VectorU8;
  ZstdCodec: new () => {
    compressBound(plainBytes: number): number;
    /** The length written, or negative. */
    compress(target: VectorU8, source: VectorU8, level: number): number;
    decompress(target: VectorU8, source: VectorU8): number;
  };
  cloneToVector(target: VectorU8, source: Uint8Array): void;
  cloneAsTypedArray(source: VectorU8): Uint8Array<ArrayBuffer>;
}

interface VectorU8 {
  resize(lengthBytes: number, fill: number): void;
  delete(): void;
}

type Instantiate = (binding: Partial<Binding>) => void;
const require = createRequire(import.meta.url);

class Heap {
  readonly #binding: Binding;
  readonly #codec: InstanceType<Binding['ZstdCodec']>;

  constructor(binding: Binding) {
    this.#binding = binding;
    this.#codec = new binding.ZstdCodec();
  }

  compress(plain: Uint8Array, level: number): Uint8Array<ArrayBuffer> | undefined {
    const roomBytes = this.#codec.compressBound(plain.byteLength);
    return this.#run(plain, roomBytes, (target, source) => this.#codec.compress(target, source, level));
  }

  decompress(payload: Uint8Array, plainBytes: number): Uint8Array<ArrayBuffer> | undefined {
    return this.#run(payload, plainBytes, (target, source) => this.#codec.decompress(target, source));
  }

  #run(
    input: Uint8Array,
    roomBytes: number,
    work: (target: VectorU8, source: VectorU8) => number,
  ): Uint8Array<ArrayBuffer> | undefined {
    const source = new this.#binding.VectorU8();
    const target = new this.#binding.VectorU8();
    try {
      this.#binding.cloneToVector(source, input);
      target.resize(roomBytes, 0);
      const writtenBytes = work(target, source);
      if (writtenBytes < 0) return undefined;
      target.resize(writtenBytes, 0);
      return this.#binding.cloneAsTypedArray(target);
    } finally {
      source.delete();
      target.delete();
    }
  }
}

async function makeHeap(instantiate: Instantiate, settings: Partial<Binding>): Promise<Heap> {
  const binding = { ...settings };
  await new Promise<void>(resolve => {
    binding.onRuntimeInitialized = resolve;
    instantiate(binding);
  });
  return new Heap(binding as Binding);
}

/** Portable zstd for this thread. Resolves when both builds are ready. */
export async function portableZstd(): Promise<CodecProvider> {
  const [small, large] = await Promise.all([
    makeHeap(require('zstd-codec/lib/zstd-codec-binding-wasm.js'), {}),
    makeHeap(require('zstd-codec/lib/zstd-codec-binding.js'), { TOTAL_MEMORY: LARGE_HEAP_BYTES }),
  ]);
  const heapFor = (fitsSmall: boolean): Heap => (fitsSmall ? small : large);
  return {
    codec: 'zstd',
    provider: 'portable',
    compress(plain, level) {
      const fits = plain.byteLength <= SMALL_HEAP.compressBytes && level <= SMALL_HEAP.compressLevel;
      const payload = heapFor(fits).compress(plain, level);
      if (payload === undefined) {
        throw new NetsealError(
          'EBUG',
          `zstd-codec could not compress ${plain.byteLength} bytes at level ${level}`,
        );
      }
      return payload;
    },
    decompress(payload, plainBytes) {
      checkZstdFrame(payload, plainBytes);
      const plain = heapFor(plainBytes <= SMALL_HEAP.decompressBytes).decompress(payload, plainBytes);
      if (plain?.byteLength !== plainBytes) {
        throw new NetsealError('EFORMAT', `zstd payload does not decompress to ${plainBytes} bytes`);
      }
      return plain;
    },
  };
}
