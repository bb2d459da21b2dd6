/**
 * The zstd codec by `zstd-codec`: the portable provider. It uses two builds of that package:
 *
 *   - The WebAssembly build is fast, but its heap is fixed at 16 MiB. Large units at high levels overflow it,
 *     and that kills the instance. It gets only what surely fits.
 *   - The JavaScript build is slower, but its heap can be chosen. It gets the rest.
 *
 * Each thread has one instance of each. Both are made at the start, because making one is asynchronous;
 * together they take about 60 ms and 12 MiB. The package's own entry point can choose neither the build nor
 * the heap, so this file uses the bindings below it.
 */
import { createRequire } from 'node:module';
import { NetsealError } from '../base/errors.ts';
import { KIB, MIB } from '../base/geometry.ts';
import type { CodecProvider } from './codec.ts';
import { checkZstdFrame } from './zstd-frame.ts';

/** The limits of what surely fits the 16 MiB heap. Tests go to these limits with incompressible data. */
const SMALL_HEAP = { compressBytes: 256 * KIB, compressLevel: 9, decompressBytes: 4 * MIB };
/** Enough for 16 MiB at level 19, as tests check. Heap that is never touched takes no memory. */
const LARGE_HEAP_BYTES = 256 * MIB;

/** The part of `zstd-codec`'s bindings that is used here. The package has no types of its own. */
interface Binding {
  onRuntimeInitialized?: () => void;
  TOTAL_MEMORY?: number;
  VectorU8: new () => VectorU8;
  ZstdCodec: new () => {
    compressBound(plainBytes: number): number;
    /** Returns the length written, or a negative number for a failure. */
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

/** One instance of a build. Its methods return undefined when the codec fails. */
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

/** Loads one build. EUNSUPPORTED where the package is not beside this file, as in a bundle. */
function loadBuild(name: string): Instantiate {
  try {
    return createRequire(import.meta.url)(`zstd-codec/lib/${name}.js`) as Instantiate;
  } catch (cause) {
    throw new NetsealError(
      'EUNSUPPORTED',
      'the portable zstd needs the package zstd-codec, which is not found; a bundler must leave netseal external',
      { cause },
    );
  }
}

/**
 * Makes the portable provider for this thread. Resolves when both builds are ready. Rejects with EUNSUPPORTED
 * where `zstd-codec` is not found.
 */
export async function portableZstd(): Promise<CodecProvider> {
  const [small, large] = await Promise.all([
    makeHeap(loadBuild('zstd-codec-binding-wasm'), {}),
    makeHeap(loadBuild('zstd-codec-binding'), { TOTAL_MEMORY: LARGE_HEAP_BYTES }),
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
