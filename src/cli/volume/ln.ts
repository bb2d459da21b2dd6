/** `netseal ln`: hard and symbolic links in a volume. */
import { Command } from 'commander';
import { requireArgument } from '../../base/errors.ts';
import type { Name } from '../../base/name.ts';
import { nameBytes, toBytesName } from '../../volume/names/name-checks.ts';
import { newAttributes } from '../../volume/new-attributes.ts';
import type { Volume } from '../../volume/volume.ts';
import { unescapeName } from '../lib/escaped-names.ts';
import { jsonDocument } from '../lib/json.ts';
import { isFolder, onPaths } from './each-path.ts';
import { at, failAt } from './path-errors.ts';
import {
  childPath,
  type PathOptions,
  parseVolumePath,
  pathBytes,
  showPath,
  type VolumePath,
  withPathOptions,
} from './paths.ts';

interface LnOptions extends PathOptions {
  readonly symbolic?: boolean;
}

const SYMLINK_MODE = 0o777;

/** `netseal ln STORE:/file STORE:/path`, `netseal ln -s TARGET STORE:/path` */
export function command(): Command {
  const ln = new Command('ln')
    .description('Give a file of a volume another name, or make a symbolic link.')
    .argument('<target>', 'STORE:/path of a file; with -s the text that the link is to hold')
    .argument('<path>', 'STORE:/path of the new name, or of a folder to put it into')
    .option('-s, --symbolic', 'make a symbolic link');
  return withPathOptions(ln).action(link);
}

function link(target: string, text: string, options: LnOptions): Promise<void> {
  const path = parseVolumePath(text, options);
  const source = options.symbolic === true ? undefined : parseVolumePath(target, options);
  const paths = source === undefined ? [path] : [source, path];
  return onPaths(paths, { workers: 0, ...options }, async ({ volume, report }) => {
    const content = options.escaped === true ? unescapeName(target) : toBytesName(target);
    const newPath = await linkPath(volume, path, source?.path ?? content);
    const place = await at(newPath, volume.place(pathBytes(newPath)));
    if (source === undefined) {
      const inode = volume.namespace.newSymlink(newAttributes(SYMLINK_MODE), nameBytes(content));
      await at(newPath, volume.namespace.insert(place.directory, place.name, inode));
    } else {
      const from = await at(source, volume.place(pathBytes(source)));
      const { inode } = await at(source, volume.find(pathBytes(source)));
      if (inode.type === 'directory') {
        throw failAt(source, 'EISDIR', 'a folder cannot have a second name: make a symbolic link with -s');
      }
      await at(newPath, volume.namespace.link(from, place.directory, place.name));
    }
    if (options.json === true) report(jsonDocument({ linked: showPath(newPath) }));
  });
}

/**
 * Returns the path of the link. In a folder, the link gets the last name of its target. EINVAL when that has
 * none.
 */
async function linkPath(volume: Volume, path: VolumePath, target: Name): Promise<VolumePath> {
  if (!(await isFolder(volume, path))) return path;
  const name = target
    .split('/')
    .filter(part => part !== '' && part !== '.')
    .at(-1);
  requireArgument(
    name !== undefined && name !== '..',
    `${showPath(path)} is a folder: add the name of the link to it`,
  );
  return childPath(path, name);
}
