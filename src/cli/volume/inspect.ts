/** `netseal inspect`: shows what the content of files is made of, and where it lies. */
import { Command } from 'commander';
import { NetsealError } from '../../base/errors.ts';
import type { FileInode } from '../../server/sealed/inode.ts';
import { type ContentLayout, contentLayout } from '../../volume/care/content-layout.ts';
import { jsonList, nameFields } from '../lib/json.ts';
import { formatCount, formatSize } from '../lib/sizes.ts';
import { eachPath } from './each-path.ts';
import { withCacheOption } from './options.ts';
import { at } from './path-errors.ts';
import { type PathOptions, pathBytes, showPath, type VolumePath, withPathOptions } from './paths.ts';

const NOTES = `
Only the extent map is read, not the content. With --cache, it also says how many
of the units a later read finds on this machine.`;

/** `netseal inspect STORE:/path...` */
export function command(): Command {
  const inspect = new Command('inspect')
    .description('Show what files of a volume are made of: units, records, packs, segments.')
    .argument('<path...>', 'STORE:/path of a file')
    .addHelpText('after', NOTES);
  return withCacheOption(withPathOptions(inspect)).action(showLayouts);
}

function showLayouts(texts: readonly string[], options: PathOptions): Promise<void> {
  const { json = false } = options;
  const results: unknown[] = [];
  return eachPath(texts, options, ({ volume, signal, print }) => ({
    each: async path => {
      const { inode } = await at(path, volume.find(pathBytes(path), { follow: true }));
      if (inode.type !== 'file') throw new NetsealError('EISDIR', `this is no file but a ${inode.type}`);
      const layout = await at(path, contentLayout(volume, inode, signal));
      if (json) results.push(describe(path, inode, layout));
      else await print(toText(path, inode, layout));
    },
    end: async () => {
      if (json) await print(jsonList(results));
    },
  }));
}

function describe({ path }: VolumePath, inode: FileInode, layout: ContentLayout): Record<string, unknown> {
  const { cachedCount, ...counts } = layout;
  return {
    ...nameFields('path', path),
    id: inode.id,
    size: inode.sizeBytes,
    unitSize: inode.unitSizeBytes,
    units: counts.unitCount,
    holes: counts.holeCount,
    records: counts.recordCount,
    recordBytes: counts.recordBytes,
    packed: counts.packedCount,
    packedBytes: counts.packedBytes,
    segments: counts.segmentCount,
    packs: counts.packCount,
    lost: counts.lostCount,
    ...(cachedCount === undefined ? {} : { cached: cachedCount }),
  };
}

function toText(path: VolumePath, inode: FileInode, layout: ContentLayout): string {
  const { unitCount, holeCount, recordCount, packedCount, lostCount, cachedCount } = layout;
  const storedBytes = layout.recordBytes + layout.packedBytes;
  const share =
    inode.sizeBytes === 0 ? '' : `, ${((100 * storedBytes) / inode.sizeBytes).toFixed(1)}% of the content`;
  const lines: [string, string][] = [
    ['path', showPath(path)],
    [
      'size',
      `${formatSize(inode.sizeBytes)}, ${formatCount(unitCount, 'unit')} of ${formatSize(inode.unitSizeBytes)}`,
    ],
    ['stored', `${formatSize(storedBytes)}${share}`],
    ['records', `${formatCount(recordCount, 'unit')} with one of its own, ${formatSize(layout.recordBytes)}`],
    [
      'packed',
      `${formatCount(packedCount, 'unit')} in ${formatCount(layout.packCount, 'pack')} with other files, ${formatSize(layout.packedBytes)}`,
    ],
    ['holes', formatCount(holeCount, 'unit')],
    ['lies in', formatCount(layout.segmentCount, 'segment')],
  ];
  if (lostCount > 0) lines.push(['lost', `${formatCount(lostCount, 'unit')}: the map cannot be read there`]);
  const stored = recordCount + packedCount;
  if (cachedCount !== undefined) lines.push(['cached', `${cachedCount} of ${formatCount(stored, 'unit')}`]);
  return lines.map(([name, value]) => `${name.padEnd(9)}${value}\n`).join('');
}
