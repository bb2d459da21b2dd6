/** `netseal key`: the slots of a volume, each with a secret that opens it. */
import { Command } from 'commander';
import type { NewSlot } from '../../keys/new-slot.ts';
import type { SlotInfo, VolumeHeader } from '../../keys/volume-header.ts';
import { changeHeaderObject } from '../../volume/header-object.ts';
import { inFrame } from '../lib/frame.ts';
import { resultWithWarning } from '../lib/notes.ts';
import { type AddedSlotOptions, readAddedSlot, withAddedSlotOptions } from '../lib/secrets.ts';
import { findSlot, notRevoked, parseSlotStart, slotList, slotReport } from '../lib/slots.ts';
import { parseLocation } from './location.ts';
import { withStore, withUnlockedHeader } from './opening.ts';
import { type StoreOptions, withStoreOptions } from './options.ts';

/** `netseal key list|add|remove STORE` */
export function command(): Command {
  return new Command('key')
    .description('List, add and remove the passphrases and key files that open a volume.')
    .addCommand(keyAction('list', 'List the slots of a volume; * marks the one that opened it.').action(list))
    .addCommand(withAddedSlotOptions(keyAction('add', 'Add a slot with another secret.')).action(add))
    .addCommand(
      keyAction('remove', 'Remove a slot. This is not revocation: see below.')
        .argument('<slot>', 'its id, or enough of its first digits to name only one slot')
        .addHelpText('after', `\n${notRevoked('volume')}`)
        .action(remove),
    );
}

const LIST = 'netseal key list';

function keyAction(name: string, description: string): Command {
  const action = new Command(name).description(description).argument('<store>', 'a folder, or a URL');
  return withStoreOptions(action);
}

function list(text: string, options: StoreOptions): Promise<void> {
  return inFrame(({ signal, report }) =>
    withUnlockedHeader(parseLocation(text), options, signal, async ({ header }) => {
      report(slotList(options.json === true, header, 'volumeId'));
    }),
  );
}

function add(text: string, options: StoreOptions & AddedSlotOptions): Promise<void> {
  return inFrame(({ signal, report }) =>
    withStore(parseLocation(text), options, signal, async ({ store, state, secrets }) => {
      let newSlot: NewSlot | undefined;
      const change = async (header: VolumeHeader): Promise<VolumeHeader> => {
        // Asked for once, even when the change is repeated, and only after the volume has opened.
        newSlot ??= await readAddedSlot(options, signal);
        signal.throwIfAborted();
        return header.addSlot(newSlot);
      };
      const header = await changeHeaderObject(store, secrets, state, change, { signal });
      header.keyring.destroy();
      // A new slot is the last one.
      const slot = header.slots.at(-1);
      report(slotReport(options.json === true, 'added', slot, header, 'volume'));
    }),
  );
}

function remove(text: string, slotText: string, options: StoreOptions): Promise<void> {
  const start = parseSlotStart(slotText, LIST);
  return inFrame(({ signal, report }) =>
    withStore(parseLocation(text), options, signal, async ({ store, state, secrets }) => {
      let removed: SlotInfo | undefined;
      const change = (header: VolumeHeader): VolumeHeader => {
        removed = findSlot(header.slots, removed?.id ?? start, 'volume', LIST);
        return header.removeSlot(removed.id);
      };
      const header = await changeHeaderObject(store, secrets, state, change, { signal });
      header.keyring.destroy();
      const json = options.json === true;
      const result = (): string => slotReport(json, 'removed', removed, header, 'volume');
      resultWithWarning(json, report, result, `this is not revocation. ${notRevoked('volume')}`);
    }),
  );
}
