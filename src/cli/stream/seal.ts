/**
 * `netseal seal`: seals one file or pipe. A sealed file is a volume header, so that it carries its own key
 * slots, followed by a sealed stream.
 */
import type { Command } from 'commander';
import { requireArgument } from '../../base/errors.ts';
import { createVolumeHeader } from '../../keys/unlock.ts';
import { sealStream } from '../../pipeline/seal-stream.ts';
import { isStandardOutput } from '../lib/output.ts';
import { readNewSlot } from '../lib/secrets.ts';
import { readUnitOptions, type UnitOptions, withUnitOptions } from '../lib/unit-options.ts';
import { addKeys, moveStream, type StreamOptions, streamCommand } from './stream.ts';

interface SealOptions extends StreamOptions, UnitOptions {}

/** `netseal seal [FILE] [-o OUT]` */
export function command(): Command {
  return withUnitOptions(streamCommand('seal', 'Compress and encrypt a file or pipe.')).action(seal);
}

function seal(path: string, options: SealOptions): Promise<void> {
  const settings = readUnitOptions(options);
  requireArgument(
    !isStandardOutput(options.output) || !process.stdout.isTTY,
    'sealed bytes would garble the terminal: use -o FILE, or a pipe',
  );
  return moveStream(path, options, async ({ source, output, pipeline, signal }) => {
    const header = await createVolumeHeader({ slots: [await readNewSlot(options, signal)] });
    const keys = addKeys(pipeline, header);
    await output.write(header.bytes);
    return ReadableStream.from(source).pipeThrough(sealStream({ pipeline, keys, ...settings }));
  });
}
