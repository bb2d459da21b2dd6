/** `netseal stat`: everything that an inode says. */
import { Command } from 'commander';
import type { Inode, MapRoot } from '../../server/sealed/inode.ts';
import { inodeKey } from '../../server/sealed/object-keys.ts';
import { showName, textOfName } from '../../transfer/local-names.ts';
import { toBytesName } from '../../volume/names/name-checks.ts';
import type { Found } from '../../volume/volume.ts';
import { describeInode, formatMode, formatTime, nameFields, octalMode, toJson } from '../lib/display.ts';
import { withInterrupt } from '../lib/interrupt.ts';
import { writeOut } from '../lib/write-out.ts';
import { Failures } from './failures.ts';
import {
  at,
  type PathOptions,
  parseVolumePath,
  pathBytes,
  showPath,
  type VolumePath,
  withPathOptions,
  withVolumePaths,
} from './paths.ts';

interface StatOptions extends PathOptions {
  readonly dereference?: boolean;
}

/** `netseal stat STORE:/path...` */
export function statCommand(): Command {
  const command = new Command('stat')
    .description('Tell everything about files and folders of a volume.')
    .argument('<path...>', 'STORE:/path; STORE alone is its root')
    .option('-L, --dereference', 'of a symbolic link, what it leads to');
  return withPathOptions(command).action(stat);
}

function stat(texts: readonly string[], options: StatOptions): Promise<void> {
  const paths = texts.map(text => parseVolumePath(text, options));
  const { dereference: follow, json } = options;
  return withInterrupt(signal =>
    withVolumePaths(paths, { workers: 0, ...options }, signal, async ({ volume }) => {
      const failures = new Failures();
      const results: unknown[] = [];
      for (const path of paths) {
        try {
          const found = await at(path, volume.find(pathBytes(path), { follow }));
          results.push(describeFound(path, found));
          if (json !== true) await writeOut(toText(path, found), signal);
        } catch (error) {
          failures.add(path, error);
        }
      }
      if (json === true) await writeOut(`${toJson(results, 2)}\n`, signal);
      failures.report();
    }),
  );
}

function describeFound({ path }: VolumePath, found: Found): Record<string, unknown> {
  const { inode } = found;
  return {
    ...nameFields('name', found.entry?.name ?? '/'),
    ...nameFields('path', path),
    ...describeInode(inode),
    ctime: formatTime(inode.ctimeNs),
    birth: formatTime(inode.birthNs),
    id: inode.id,
    version: inode.version,
    dataVersion: inode.dataVersion,
    embedded: isEmbedded(found),
    ...(isEmbedded(found) ? {} : { object: inodeKey(inode.id) }),
    ...describeContent(inode),
    xattrs: inode.xattrs.map(({ key, value }) => ({
      ...nameFields('key', key),
      valueHex: Buffer.from(value).toString('hex'),
    })),
  };
}

/** Whether the inode lies in its folder rather than in an object of its own. */
function isEmbedded({ entry }: Found): boolean {
  return entry?.node.kind === 'embedded';
}

function describeContent(inode: Inode): Record<string, unknown> {
  if (inode.type === 'file') {
    const { depth, slots } = inode.map;
    return { unitSize: inode.unitSizeBytes, mapDepth: depth, mapSlots: slots.length };
  }
  if (inode.type === 'symlink') return {};
  const { tree, nextIndex, parent } = inode;
  const level = tree.kind === 'leaf' ? 0 : tree.level;
  return { parent, treeDepth: level, nodesWritten: nextIndex };
}

function toText(path: VolumePath, found: Found): string {
  const { inode } = found;
  const where = isEmbedded(found) ? 'in its folder' : `object ${inodeKey(inode.id)}`;
  const lines: [string, string][] = [
    ['path', showPath(path)],
    ['type', inode.type],
    ...contentLines(inode),
    ['mode', `${octalMode(inode.mode)} ${formatMode(inode.type, inode.mode)}`],
    ['owner', `${inode.uid}:${inode.gid}`],
    ['modified', formatTime(inode.mtimeNs)],
    ['changed', formatTime(inode.ctimeNs)],
    ['born', formatTime(inode.birthNs)],
    ['id', inode.id],
    ['version', `${inode.version}, of the content ${inode.dataVersion}`],
    ['inode', where],
    ...inode.xattrs.map(({ key, value }): [string, string] => [
      'xattr',
      `${showName(key)} = ${showValue(value)}`,
    ]),
  ];
  return `${lines.map(([key, value]) => `${key.padEnd(9)} ${value}`).join('\n')}\n`;
}

function contentLines(inode: Inode): [string, string][] {
  if (inode.type === 'directory') {
    const level = inode.tree.kind === 'leaf' ? 0 : inode.tree.level;
    return [
      ['entries', String(inode.entryCount)],
      ['tree', `${level} ${level === 1 ? 'level' : 'levels'} below the inode`],
    ];
  }
  if (inode.type === 'symlink') return [['target', showName(toBytesName(inode.target))]];
  return [
    ['size', `${inode.sizeBytes} bytes, ${inode.storedBytes} stored`],
    ['links', String(inode.linkCount)],
    ['units', `of ${inode.unitSizeBytes} bytes; ${showMap(inode.map)}`],
  ];
}

function showMap({ depth, slots }: MapRoot): string {
  if (depth === 0) return `${slots.length} stored, by the inode itself`;
  return `by ${slots.length} map pages, ${depth} deep`;
}

function showValue(value: Uint8Array): string {
  const name = toBytesName(value);
  return textOfName(name) === undefined ? `0x${Buffer.from(value).toString('hex')}` : showName(name);
}
