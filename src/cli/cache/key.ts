/** `netseal cache key`: the slots of a cache, each with a secret that opens it. */
import { Command } from 'commander';
import { NetsealError } from '../../base/errors.ts';
import type { VolumeHeader } from '../../keys/volume-header.ts';
import { openingError } from '../lib/cache-opening.ts';
import { type Frame, inFrame } from '../lib/frame.ts';
import { jsonDocument } from '../lib/json.ts';
import { loadCacheHeader } from '../lib/lazy.ts';
import { resultWithWarning } from '../lib/notes.ts';
import { type AddedSlotOptions, readAddedSlot, readSecret, withAddedSlotOptions } from '../lib/secrets.ts';
import { findSlot, notRevoked, parseSlotStart, slotList, slotReport } from '../lib/slots.ts';
import { type CacheOptions, cacheCommand, withCache } from './opening.ts';

const LIST = 'netseal cache key list';
const OLD_COPIES =
  'Anyone who has an old secret and a copy of the old header can still open what was sealed before.';

/** `netseal cache key list|add|remove|change DIR` */
export function command(): Command {
  return new Command('key')
    .description('List, add, remove and change the passphrases and key files that open a cache.')
    .addCommand(
      cacheCommand('list', 'List the slots of a cache; * marks the one that opened it.').action(list),
    )
    .addCommand(withAddedSlotOptions(cacheCommand('add', 'Add a slot with another secret.')).action(add))
    .addCommand(
      cacheCommand('remove', 'Remove a slot. This is not revocation: see below.')
        .argument('<slot>', 'its id, or enough of its first digits to name only one slot')
        .addHelpText('after', `\n${notRevoked('cache')}`)
        .action(remove),
    )
    .addCommand(
      withAddedSlotOptions(
        cacheCommand('change', 'Make new keys, with one new slot. The old slots no longer open the cache.'),
      )
        .addHelpText('after', `\n${OLD_COPIES}`)
        .action(change),
    );
}

function list(folder: string, options: CacheOptions): Promise<void> {
  return withHeader(folder, options, async ({ header, report }) =>
    report(slotList(options.json === true, header, 'cacheId')),
  );
}

function add(folder: string, options: CacheOptions & AddedSlotOptions): Promise<void> {
  return withHeader(folder, options, async ({ header, replace, signal, report }) => {
    const next = await header.addSlot(await readAddedSlot(options, signal));
    signal.throwIfAborted();
    await replace(next);
    // A new slot is the last one.
    report(slotReport(options.json === true, 'added', next.slots.at(-1), next, 'cache'));
  });
}

function remove(folder: string, slotText: string, options: CacheOptions): Promise<void> {
  const start = parseSlotStart(slotText, LIST);
  return withHeader(folder, options, async ({ header, replace, report }) => {
    const slot = findSlot(header.slots, start, 'cache', LIST);
    const next = header.removeSlot(slot.id);
    await replace(next);
    const json = options.json === true;
    const result = (): string => slotReport(json, 'removed', slot, next, 'cache');
    resultWithWarning(json, report, result, `this is not revocation. ${notRevoked('cache')}`);
  });
}

function change(folder: string, options: CacheOptions & AddedSlotOptions): Promise<void> {
  return withCache(folder, options, async ({ cache, signal, report }) => {
    const slot = await readAddedSlot(options, signal);
    if (slot.secret.type === 'callback') throw new NetsealError('EBUG', 'the command line has no callbacks');
    signal.throwIfAborted();
    await cache.changeKey([{ label: slot.label, secret: slot.secret }]);
    const changed = { type: slot.secret.type, label: slot.label };
    const json = options.json === true;
    const result = (): string =>
      json
        ? jsonDocument({ changed })
        : `the cache has new keys, and one slot: ${changed.type}, "${changed.label}"\n`;
    resultWithWarning(json, report, result, OLD_COPIES);
  });
}

interface HeaderAccess extends Frame {
  readonly header: VolumeHeader;
  /** Writes another header in place of this one. */
  replace(next: VolumeHeader): Promise<void>;
}

/** Unlocks only the header, and keeps other processes from the cache until `work` has ended. */
function withHeader(
  folder: string,
  options: CacheOptions,
  work: (access: HeaderAccess) => Promise<void>,
): Promise<void> {
  return inFrame(async frame => {
    const { openHeader } = await loadCacheHeader();
    const opened = await openHeader(folder, () => readSecret(options, frame.signal)).catch(error => {
      throw openingError(folder, error);
    });
    try {
      await work({ ...frame, header: opened.header, replace: next => opened.replace(next) });
    } finally {
      opened.close();
    }
  });
}
