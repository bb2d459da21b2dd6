/** `netseal status`: says whether all that this client has put is in the store. */
import { Command } from 'commander';
import { type UnfinishedCopies, unfinishedCopies } from '../../volume/state/unfinished.ts';
import { EXIT_FAILED } from '../lib/exit-codes.ts';
import { jsonDocument } from '../lib/json.ts';
import { formatCount } from '../lib/sizes.ts';
import { formatTimeMs, formatUtcMinute } from '../lib/times.ts';
import { onWholeVolume } from './opening.ts';
import { type VolumeOptions, withVolumeOptions } from './options.ts';

const NOTES = `
A command that ends well leaves nothing behind: all that it has put is in the store.
What is told here are large files whose copy was interrupted, or is running. The
same command again goes on where it was.

Exit code 1: something is only partly put.`;

/** `netseal status STORE` */
export function command(): Command {
  const status = new Command('status')
    .description('Say whether all that this client has put is in the store.')
    .argument('<store>', 'a folder, or a URL')
    .addHelpText('after', NOTES);
  return withVolumeOptions(status).action(tellStatus);
}

function tellStatus(text: string, options: VolumeOptions): Promise<void> {
  return onWholeVolume('status', text, { workers: 0, ...options }, async ({ header, state, print }) => {
    const unfinished = unfinishedCopies(state);
    await print(options.json === true ? describe(header.volumeId, unfinished) : tell(unfinished));
    if (unfinished.puts > 0) process.exitCode = EXIT_FAILED;
  });
}

function describe(volume: string, { puts, gets, oldestMs }: UnfinishedCopies): string {
  const oldest = oldestMs === undefined ? {} : { oldest: formatTimeMs(oldestMs) };
  return jsonDocument({
    volume,
    isUploaded: puts === 0,
    unfinishedPuts: puts,
    unfinishedGets: gets,
    ...oldest,
  });
}

function tell({ puts, gets, oldestMs }: UnfinishedCopies): string {
  const since = oldestMs === undefined ? '' : ` (the oldest rests since ${formatUtcMinute(oldestMs)} UTC)`;
  const lines = [
    puts === 0
      ? 'everything that was put from here is in the store'
      : `${formatCount(puts, 'large file')} partly put${since}: the same put again goes on where it was`,
  ];
  if (gets > 0)
    lines.push(`${formatCount(gets, 'large file')} partly got: the same get again goes on where it was`);
  return lines.map(line => `${line}\n`).join('');
}
