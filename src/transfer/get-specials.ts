/** Which of a volume's FIFOs, sockets and devices `get` makes. */
import type { DeviceInode, PipeInode } from '../server/sealed/inode.ts';
import type { GetOptions } from './get-options.ts';

/** Says why `get` does not make this one; undefined when it does. */
export function whyNotMade(
  { type }: PipeInode | DeviceInode,
  { devices = false }: GetOptions,
): string | undefined {
  if (type === 'fifo') return undefined;
  if (type === 'socket') return 'not written: a socket';
  return devices ? undefined : 'not written: a device; --devices makes it';
}
