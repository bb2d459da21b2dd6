/** `netseal cache key`: the ways into a cache. */
import { Command } from 'commander';
import { NetsealError } from '../../base/errors.ts';
import type { VolumeHeader } from '../../keys/volume-header.ts';
import { toJson } from '../lib/display.ts';
import { withInterrupt } from '../lib/interrupt.ts';
import { type AddedSlotOptions, readAddedSlot, readSecret, withAddedSlotOptions } from '../lib/secrets.ts';
import { findSlot, notRevoked, parseSlotStart, slotList, slotReport } from '../lib/slots.ts';
import { type CacheOptions, openingError, withCache, withCacheOptions } from './access.ts';

const LIST = 'netseal cache key list';
const OLD_COPIES =
  'What was sealed before can still be opened by who has an old secret and a copy of the old header.';

/** `netseal cache key list|add|remove|change DIR` */
export function cacheKeyCommand(): Command {
  return new Command('key')
    .description('List, add, remove and change the passphrases and key files that open a cache.')
    .addCommand(keyAction('list', 'List the slots of a cache; * marks the one that opened it.').action(list))
    .addCommand(withAddedSlotOptions(keyAction('add', 'Add a slot with another secret.')).action(add))
    .addCommand(
      keyAction('remove', 'Remove a slot. This is not revocation: see below.')
        .argument('<slot>', 'its id, or so much of the beginning that only one fits')
        .addHelpText('after', `\n${notRevoked('cache')}`)
        .action(remove),
    )
    .addCommand(
      withAddedSlotOptions(
        keyAction(
          'change',
          'Make new keys, opened by one new secret; no slot of before opens the cache then.',
        ),
      )
        .addHelpText('after', `\n${OLD_COPIES}`)
        .action(change),
    );
}

function keyAction(name: string, description: string): Command {
  return withCacheOptions(new Command(name).description(description));
}

function list(folder: string, options: CacheOptions): Promise<void> {
  return withHeader(folder, options, ({ header }) => {
    process.stdout.write(slotList(options.json === true, header, 'cacheId'));
    return Promise.resolve();
  });
}

function add(folder: string, options: CacheOptions & AddedSlotOptions): Promise<void> {
  return withHeader(folder, options, async ({ header, replace, signal }) => {
    const next = await header.addSlot(await readAddedSlot(options, signal));
    signal.throwIfAborted();
    await replace(next);
    // A new slot comes last.
    process.stdout.write(slotReport(options.json === true, 'added', next.slots.at(-1), next, 'cache'));
  });
}

function remove(folder: string, slotText: string, options: CacheOptions): Promise<void> {
  const start = parseSlotStart(slotText, LIST);
  return withHeader(folder, options, async ({ header, replace }) => {
    const slot = findSlot(header.slots, start, 'cache', LIST);
    const next = header.removeSlot(slot.id);
    await replace(next);
    process.stdout.write(slotReport(options.json === true, 'removed', slot, next, 'cache'));
    process.stderr.write(`netseal: this is not revocation. ${notRevoked('cache')}\n`);
  });
}

function change(folder: string, options: CacheOptions & AddedSlotOptions): Promise<void> {
  return withCache(folder, options, async ({ cache, signal }) => {
    const slot = await readAddedSlot(options, signal);
    if (slot.secret.type === 'callback') throw new NetsealError('EBUG', 'the command line has no callbacks');
    signal.throwIfAborted();
    await cache.changeKey([{ label: slot.label, secret: slot.secret }]);
    const changed = { type: slot.secret.type, label: slot.label };
    process.stdout.write(
      options.json === true
        ? `${toJson({ changed }, 2)}\n`
        : `the cache has new keys, and one slot: ${changed.type}, "${changed.label}"\n`,
    );
    process.stderr.write(`netseal: ${OLD_COPIES}\n`);
  });
}

interface HeaderAccess {
  readonly header: VolumeHeader;
  readonly signal: AbortSignal;
  /** Puts another header in the place of this one. */
  replace(next: VolumeHeader): Promise<void>;
}

/** Unlocks the header alone, while no other process can. */
function withHeader(
  folder: string,
  options: CacheOptions,
  work: (access: HeaderAccess) => Promise<void>,
): Promise<void> {
  return withInterrupt(async signal => {
    const { openHeader } = await import('../lib/modules-cache.ts');
    const opened = await openHeader(folder, () => readSecret(options, signal)).catch(error => {
      throw openingError(folder, error);
    });
    try {
      await work({ header: opened.header, signal, replace: next => opened.replace(next) });
    } finally {
      opened.close();
    }
  });
}
