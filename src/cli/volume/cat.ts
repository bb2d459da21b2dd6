/** `netseal cat`: writes files, or parts of them, to standard output. */
import { Command } from 'commander';
import { sizeOption } from '../lib/value-options.ts';
import { onPaths } from './each-path.ts';
import { withCacheOption } from './options.ts';
import { type PathOptions, parseVolumePath, withPathOptions } from './paths.ts';
import { writeFiles } from './write-files.ts';

interface CatOptions extends PathOptions {
  readonly offset?: number;
  readonly length?: number;
}

/** `netseal cat STORE:/path...` */
export function command(): Command {
  const cat = new Command('cat')
    .description('Write files of a volume to standard output.')
    .argument('<path...>', 'STORE:/path of a file')
    .addOption(sizeOption('--offset <size>', 'begin at this byte of each file, counted from 0'))
    .addOption(sizeOption('--length <size>', 'write at most so many bytes of each file'));
  return withCacheOption(withPathOptions(cat, { json: false })).action(copyOut);
}

function copyOut(texts: readonly string[], options: CatOptions): Promise<void> {
  const paths = texts.map(text => parseVolumePath(text, options));
  return onPaths(paths, { workers: 0, ...options }, frame => writeFiles(paths, options, frame));
}
