/**
 * Loads the large parts of netseal when a command first needs them, so that a command starts without the
 * parts it never uses. Each call returns the same modules: Node keeps what it has loaded.
 */
import type * as CacheHeaderModule from '../../cache/base/header.ts';
import type * as CacheModule from '../../cache/open.ts';
import type * as PipelineModule from '../../pipeline/pipeline.ts';
import type * as OpenUrlModule from '../../server/adapters/open-url.ts';
import type * as DirectoryStoreModule from '../../server/directory-store.ts';
import type * as ProbeModule from '../../server/probe.ts';
import type * as WrapModule from '../../server/wrap.ts';
import type * as FilterModule from '../../transfer/filter.ts';
import type * as GetModule from '../../transfer/get.ts';
import type * as NativeModule from '../../transfer/local-native.ts';
import type * as MeasureModule from '../../transfer/measure.ts';
import type * as OwnStorageModule from '../../transfer/own-storage.ts';
import type * as PutModule from '../../transfer/put.ts';
import type * as PutStreamModule from '../../transfer/put-stream.ts';
import type * as HeaderObjectModule from '../../volume/header-object.ts';
import type * as StateFolderModule from '../../volume/state/state-folder.ts';
import type * as VolumeModule from '../../volume/volume.ts';

/**
 * Loads what starts the worker threads. A command that needs threads loads this first, so that they start
 * while the rest loads.
 */
export function loadPipeline(): Promise<typeof PipelineModule> {
  return import('../../pipeline/pipeline.ts');
}

/** Loads what tries stores. */
export function loadProbe(): Promise<typeof ProbeModule> {
  return import('../../server/probe.ts');
}

/** Loads what opens stores that are elsewhere. */
export function loadStoreUrls(): Promise<typeof OpenUrlModule> {
  return import('../../server/adapters/open-url.ts');
}

/** Loads what opens a store, its volume header, and the state that this client keeps of it. */
export async function loadStore(): Promise<
  typeof DirectoryStoreModule & typeof WrapModule & typeof HeaderObjectModule & typeof StateFolderModule
> {
  const [directoryStore, wrap, headerObject, stateFolder] = await Promise.all([
    import('../../server/directory-store.ts'),
    import('../../server/wrap.ts'),
    import('../../volume/header-object.ts'),
    import('../../volume/state/state-folder.ts'),
  ]);
  return { ...directoryStore, ...wrap, ...headerObject, ...stateFolder };
}

/** Loads the volume itself: names, folders, files. */
export function loadVolume(): Promise<typeof VolumeModule> {
  return import('../../volume/volume.ts');
}

/** Loads what copies local trees in and out of a volume. */
export async function loadTransfer(): Promise<
  typeof PutModule &
    typeof PutStreamModule &
    typeof GetModule &
    typeof MeasureModule &
    typeof NativeModule &
    typeof FilterModule &
    typeof OwnStorageModule
> {
  const [put, putStream, get, measure, native, filter, ownStorage] = await Promise.all([
    import('../../transfer/put.ts'),
    import('../../transfer/put-stream.ts'),
    import('../../transfer/get.ts'),
    import('../../transfer/measure.ts'),
    import('../../transfer/local-native.ts'),
    import('../../transfer/filter.ts'),
    import('../../transfer/own-storage.ts'),
  ]);
  return { ...put, ...putStream, ...get, ...measure, ...native, ...filter, ...ownStorage };
}

/** Loads what opens a cache. */
export function loadCache(): Promise<typeof CacheModule> {
  return import('../../cache/open.ts');
}

/** Loads what opens only the header of a cache. */
export function loadCacheHeader(): Promise<typeof CacheHeaderModule> {
  return import('../../cache/base/header.ts');
}
