/** `netseal cache ls`: volumes, objects, units. */
import { Command } from 'commander';
import { toHex } from '../../base/bytes.ts';
import { requireArgument } from '../../base/errors.ts';
import type { CacheVolume } from '../../cache/cache-volume.ts';
import type { CachedObject, ListedUnit } from '../../cache/inspect/listing.ts';
import { toBytesName } from '../../volume/names/name-checks.ts';
import { Lines, nameFields } from '../lib/display.ts';
import { JsonArray } from '../lib/json-array.ts';
import { formatSize } from '../lib/sizes.ts';
import { writeOut } from '../lib/write-out.ts';
import { type CacheAccess, type CacheOptions, tellProblems, withCache, withCacheOptions } from './access.ts';
import { cookieKeyOf } from './cookies.ts';
import { findObject, findVolume, ID_NOTES } from './ids.ts';

interface LsOptions extends CacheOptions {
  readonly long?: boolean;
}

const NOTES = `${ID_NOTES}

Of a volume and an object it tells units, their size, whether it is pinned (p)
and whether some of it is not on the server yet (d); an object also has the name
that its client gave it. Units of an object come as ranges, with -l one by one.

Everything is sorted: for that, the lists of all zones are looked through, once
for each 131,072 objects or units, and nothing else is read.`;

/** `netseal cache ls DIR [VOLUME [OBJECT]]` */
export function cacheLsCommand(): Command {
  const command = withCacheOptions(
    new Command('ls').description('List the volumes in a cache, the objects of one, or units.'),
  )
    .argument('[volume]', 'list its objects')
    .argument('[object]', 'list its units')
    .option('-l, --long', 'units one by one, with their tags')
    .addHelpText('after', NOTES);
  return command.action(
    (folder: string, volume: string | undefined, object: string | undefined, options: LsOptions) => {
      requireArgument(
        options.long !== true || object !== undefined,
        '-l is for the units of an object: name one',
      );
      return withCache(folder, options, access => ls(access, volume, object, options));
    },
  );
}

async function ls(
  access: CacheAccess,
  volumeText: string | undefined,
  objectText: string | undefined,
  options: LsOptions,
): Promise<void> {
  const { cache, signal } = access;
  tellProblems(access);
  const output = options.json === true ? new JsonOutput(signal) : new LineOutput(signal);
  if (volumeText === undefined) {
    for (const volume of await cache.contentsByVolume({ signal })) {
      const { volumeId, ...rest } = volume;
      await output.add({ id: volumeId, ...rest, isPinned: isPinned(access, volumeId), cookie: undefined });
    }
    return output.end();
  }
  const volume = findVolume(cache, volumeText);
  if (objectText !== undefined) {
    const objectId = await findObject(cache, volume, objectText, signal);
    const units = cache.units(volume.id, objectId, { signal });
    if (options.long === true) for await (const unit of units) await output.addUnit(unit);
    else for await (const range of rangesOf(units)) await output.addRange(range);
    return output.end();
  }
  for await (const object of cache.objects(volume.id, { signal })) await addObject(output, volume, object);
  return output.end();
}

/** A pin of the whole volume. */
function isPinned({ cache }: CacheAccess, volumeId: Uint8Array): boolean {
  return cache.pins().some(pin => pin.objectId === undefined && Buffer.compare(pin.volumeId, volumeId) === 0);
}

async function addObject(output: Output, volume: CacheVolume, object: CachedObject): Promise<void> {
  const { objectId, ...rest } = object;
  await output.add({ id: objectId, ...rest, cookie: cookieKeyOf(volume, objectId) });
}

/** A volume or an object. */
interface Listed extends Omit<CachedObject, 'objectId'> {
  readonly id: Uint8Array;
  readonly cookie: Uint8Array | undefined;
}

/** Units with consecutive indexes in one queue. */
interface UnitRange {
  from: number;
  /** One behind the last. */
  to: number;
  bytes: number;
  readonly queue: string;
  readonly isDirty: boolean;
}

async function* rangesOf(units: AsyncIterable<ListedUnit>): AsyncGenerator<UnitRange> {
  let range: UnitRange | undefined;
  for await (const { index, lengthBytes, queue, isDirty } of units) {
    if (range?.to === index && range.queue === queue && range.isDirty === isDirty) {
      range.to += 1;
      range.bytes += lengthBytes;
      continue;
    }
    if (range !== undefined) yield range;
    range = { from: index, to: index + 1, bytes: lengthBytes, queue, isDirty };
  }
  if (range !== undefined) yield range;
}

interface Output {
  add(listed: Listed): Promise<void>;
  addUnit(unit: ListedUnit): Promise<void>;
  addRange(range: UnitRange): Promise<void>;
  end(): Promise<void>;
}

/** Written at once. */
const LINES = 512;

/** Columns are as wide as the widest cell so far: lines are written while the rest is still being looked for. */
class LineOutput implements Output {
  readonly #signal: AbortSignal;
  readonly #lines = new Lines(process.stdout.isTTY === true);
  readonly #widths: number[] = [];
  #rows: { readonly cells: readonly string[]; readonly name: string }[] = [];

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  add({ id, units, bytes, dirty, isPinned: pinned, cookie }: Listed): Promise<void> {
    const marks = `${pinned ? 'p' : '-'}${dirty.units > 0 ? 'd' : '-'}`;
    const name = cookie === undefined ? '' : `  ${this.#lines.name(toBytesName(cookie))}`;
    return this.#add([units.toLocaleString('en-US'), formatSize(bytes), marks, toHex(id)], name);
  }

  addUnit({ index, lengthBytes, queue, tag, isDirty }: ListedUnit): Promise<void> {
    return this.#add([
      String(index),
      formatSize(lengthBytes),
      isDirty ? '-d' : '--',
      queue.padEnd(6),
      toHex(tag),
    ]);
  }

  addRange({ from, to, bytes, queue, isDirty }: UnitRange): Promise<void> {
    const indexes = to === from + 1 ? String(from) : `${from}-${to - 1}`;
    return this.#add([
      (to - from).toLocaleString('en-US'),
      formatSize(bytes),
      isDirty ? '-d' : '--',
      queue.padEnd(6),
      indexes,
    ]);
  }

  end(): Promise<void> {
    return this.#write();
  }

  async #add(cells: readonly string[], name = ''): Promise<void> {
    this.#rows.push({ cells, name });
    if (this.#rows.length >= LINES) await this.#write();
  }

  async #write(): Promise<void> {
    for (const { cells } of this.#rows) {
      for (const [at, cell] of cells.entries())
        this.#widths[at] = Math.max(this.#widths[at] ?? 0, cell.length);
    }
    for (const { cells, name } of this.#rows) {
      // The last cell is an id or the like: nothing is put before it.
      const padded = cells.map((cell, at) =>
        at === cells.length - 1 ? cell : cell.padStart(this.#widths[at] ?? 0),
      );
      this.#lines.add(`${padded.join('  ')}${name}`);
    }
    this.#rows = [];
    await writeOut(this.#lines.take(), this.#signal);
  }
}

class JsonOutput implements Output {
  readonly #array: JsonArray;

  constructor(signal: AbortSignal) {
    this.#array = new JsonArray(signal);
  }

  add({ id, units, bytes, dirty, isPinned: pinned, cookie }: Listed): Promise<void> {
    const name = cookie === undefined ? {} : nameFields('cookie', toBytesName(cookie));
    return this.#array.add({ id: toHex(id), units, bytes, dirty, pinned, ...name });
  }

  addUnit({ index, lengthBytes, queue, tag, isDirty }: ListedUnit): Promise<void> {
    return this.#array.add({ index, bytes: lengthBytes, queue, dirty: isDirty, tag: toHex(tag) });
  }

  addRange({ from, to, bytes, queue, isDirty }: UnitRange): Promise<void> {
    return this.#array.add({ from, to, units: to - from, bytes, queue, dirty: isDirty });
  }

  end(): Promise<void> {
    return this.#array.end();
  }
}
