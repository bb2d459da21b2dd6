/** `netseal stat`: shows everything that an inode holds. */
import { Command } from 'commander';
import type { Inode, MapRoot } from '../../server/sealed/inode.ts';
import { isDevice } from '../../server/sealed/inode-body.ts';
import { inodeKey, type KeyScheme, storedKey } from '../../server/sealed/object-keys.ts';
import { showName, textOfName } from '../../transfer/local-names.ts';
import { toBytesName } from '../../volume/names/name-checks.ts';
import type { Found } from '../../volume/names/path-walk.ts';
import { keyOfReference } from '../../volume/names/references.ts';
import { jsonList, nameFields } from '../lib/json.ts';
import { formatTime } from '../lib/times.ts';
import { eachPath } from './each-path.ts';
import { describeInode, formatMode, linksOf, octalMode } from './inode-display.ts';
import { at } from './path-errors.ts';
import { type PathOptions, pathBytes, showPath, type VolumePath, withPathOptions } from './paths.ts';

interface StatOptions extends PathOptions {
  readonly dereference?: boolean;
}

/** `netseal stat STORE:/path...` */
export function command(): Command {
  const stat = new Command('stat')
    .description('Show everything about files and folders of a volume.')
    .argument('<path...>', 'STORE:/path; STORE alone is its root')
    .option('-L, --dereference', 'follow symbolic links: show what they lead to');
  return withPathOptions(stat).action(showStatus);
}

function showStatus(texts: readonly string[], options: StatOptions): Promise<void> {
  const { dereference: follow, json = false } = options;
  const results: unknown[] = [];
  return eachPath(texts, options, ({ volume, print }) => ({
    each: async path => {
      const found = await at(path, volume.find(pathBytes(path), { follow }));
      const { keys } = volume.settings;
      if (json) results.push(describeFound(path, found, keys));
      else await print(toText(path, found, keys));
    },
    end: async () => {
      if (json) await print(jsonList(results));
    },
  }));
}

function describeFound({ path }: VolumePath, found: Found, keys: KeyScheme): Record<string, unknown> {
  const { inode } = found;
  const object = objectKeyOf(found, keys);
  return {
    ...nameFields('name', found.entry?.name ?? '/'),
    ...nameFields('path', path),
    ...describeInode(inode),
    ...(inode.atimeNs === undefined ? {} : { atime: formatTime(inode.atimeNs) }),
    ctime: formatTime(inode.ctimeNs),
    birth: formatTime(inode.birthNs),
    id: inode.id,
    version: inode.version,
    dataVersion: inode.dataVersion,
    embedded: object === undefined,
    ...(object === undefined ? {} : { object }),
    ...describeContent(inode),
    ...describeExtensions(inode),
    xattrs: inode.xattrs.map(({ key, value }) => ({
      ...nameFields('key', key),
      valueHex: Buffer.from(value).toString('hex'),
    })),
  };
}

/** Returns the key of the inode's object; undefined when it is embedded in its folder. */
function objectKeyOf({ inode, entry }: Found, keys: KeyScheme): string | undefined {
  if (entry === undefined) return storedKey(inodeKey(inode.id), keys);
  return entry.node.kind === 'embedded' ? undefined : storedKey(inodeKey(keyOfReference(entry.node)), keys);
}

function describeExtensions({ extensions }: Inode): Record<string, unknown> {
  if (extensions === undefined) return {};
  return {
    extensions: extensions.items.map(({ tag, value }) => ({
      tag,
      valueHex: Buffer.from(value).toString('hex'),
    })),
  };
}

function describeContent(inode: Inode): Record<string, unknown> {
  if (inode.type === 'file') {
    const { depth, slots } = inode.map;
    return { unitSize: inode.unitSizeBytes, mapDepth: depth, mapSlots: slots.length };
  }
  if (inode.type !== 'directory') return {};
  const { tree, nextIndex, parent } = inode;
  const level = tree.kind === 'leaf' ? 0 : tree.level;
  return { parent, treeDepth: level, nodesWritten: nextIndex };
}

function toText(path: VolumePath, found: Found, keys: KeyScheme): string {
  const { inode } = found;
  const object = objectKeyOf(found, keys);
  const where = object === undefined ? 'embedded in its folder' : `object ${object}`;
  const lines: [string, string][] = [
    ['path', showPath(path)],
    ['type', inode.type],
    ...contentLines(inode),
    ['mode', `${octalMode(inode.mode)} ${formatMode(inode.type, inode.mode)}`],
    ['owner', `${inode.uid}:${inode.gid}`],
    ['links', String(linksOf(inode))],
    ['modified', formatTime(inode.mtimeNs)],
    ...optionalLine('accessed', inode.atimeNs === undefined ? undefined : formatTime(inode.atimeNs)),
    ['changed', formatTime(inode.ctimeNs)],
    ['born', formatTime(inode.birthNs)],
    ['id', inode.id],
    ['version', `${inode.version}; content ${inode.dataVersion}`],
    ['inode', where],
    ...inode.xattrs.map(({ key, value }): [string, string] => [
      'xattr',
      `${showName(key)} = ${showValue(value)}`,
    ]),
    ...(inode.extensions?.items ?? []).map(({ tag, value }): [string, string] => [
      'extension',
      `${tag}: ${value.byteLength} bytes, of a newer netseal`,
    ]),
  ];
  return `${lines.map(([key, value]) => `${key.padEnd(9)} ${value}`).join('\n')}\n`;
}

function optionalLine(key: string, value: string | undefined): [string, string][] {
  return value === undefined ? [] : [[key, value]];
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
  if (isDevice(inode)) return [['device', `${inode.major}, ${inode.minor}`]];
  if (inode.type !== 'file') return [];
  return [
    ['size', `${inode.sizeBytes} bytes, ${inode.storedBytes} stored`],
    ['units', `of ${inode.unitSizeBytes} bytes; ${showMap(inode.map)}`],
  ];
}

function showMap({ depth, slots }: MapRoot): string {
  if (depth === 0) return `${slots.length} stored, listed in the inode itself`;
  return `listed in ${slots.length} map pages, ${depth} deep`;
}

function showValue(value: Uint8Array): string {
  const name = toBytesName(value);
  return textOfName(name) === undefined ? `0x${Buffer.from(value).toString('hex')}` : showName(name);
}
