/** `netseal ln`: hard and symbolic links in a volume. */
import { Command } from 'commander';
import { requireArgument } from '../../base/errors.ts';
import { nameBytes, toBytesName } from '../../volume/names/name-checks.ts';
import type { Volume } from '../../volume/volume.ts';
import { toJson } from '../lib/display.ts';
import { withInterrupt } from '../lib/interrupt.ts';
import { newAttributes } from './attributes.ts';
import {
  at,
  childPath,
  failAt,
  isFolder,
  type PathOptions,
  parseVolumePath,
  pathBytes,
  showPath,
  unescapeName,
  type VolumePath,
  withPathOptions,
  withVolumePaths,
} from './paths.ts';

interface LnOptions extends PathOptions {
  readonly symbolic?: boolean;
}

const SYMLINK_MODE = 0o777;

/** `netseal ln STORE:/file STORE:/path`, `netseal ln -s TARGET STORE:/path` */
export function lnCommand(): Command {
  const command = new Command('ln')
    .description('Give a file of a volume another name, or make a symbolic link.')
    .argument('<target>', 'STORE:/path of a file; with -s what the link is to say, as it is')
    .argument('<path>', 'STORE:/path of the new name, or of a folder to put it into')
    .option('-s, --symbolic', 'make a symbolic link');
  return withPathOptions(command).action(ln);
}

function ln(target: string, text: string, options: LnOptions): Promise<void> {
  const isSymbolic = options.symbolic === true;
  const path = parseVolumePath(text, options);
  const source = isSymbolic ? undefined : parseVolumePath(target, options);
  const paths = source === undefined ? [path] : [source, path];
  return withInterrupt(signal =>
    withVolumePaths(paths, { workers: 0, ...options }, signal, async ({ volume }) => {
      const content = options.escaped === true ? unescapeName(target) : toBytesName(target);
      const last = source === undefined ? content : source.path;
      const link = await linkPath(volume, path, last);
      const place = await at(link, volume.place(pathBytes(link)));
      if (source === undefined) {
        const inode = volume.names.newSymlink(newAttributes(SYMLINK_MODE), nameBytes(content));
        await at(link, volume.names.insert(place.directory, place.name, inode));
      } else {
        const from = await at(source, volume.place(pathBytes(source)));
        const { inode } = await at(source, volume.find(pathBytes(source)));
        if (inode.type === 'directory') {
          throw failAt(source, 'EISDIR', 'a folder cannot have a second name: make a symbolic link with -s');
        }
        await at(link, volume.names.link(from, place.directory, place.name));
      }
      if (options.json === true) process.stdout.write(`${toJson({ linked: showPath(link) }, 2)}\n`);
    }),
  );
}

/** Into a folder goes a link of the same name. */
async function linkPath(volume: Volume, path: VolumePath, target: string): Promise<VolumePath> {
  if (!(await isFolder(volume, path))) return path;
  const name = target
    .split('/')
    .filter(part => part !== '' && part !== '.')
    .at(-1);
  requireArgument(
    name !== undefined && name !== '..',
    `${showPath(path)} is a folder: say what the link in it is to be called`,
  );
  return childPath(path, name);
}
