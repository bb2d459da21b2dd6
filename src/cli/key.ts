/** `netseal key`: the ways into a volume. */
import { Command } from 'commander';
import { requireArgument } from '../base/errors.ts';
import type { NewSlot } from '../keys/new-slot.ts';
import type { SlotInfo, VolumeHeader } from '../keys/volume-header.ts';
import { changeHeaderObject } from '../volume/header-object.ts';
import { withInterrupt } from './interrupt.ts';
import { parseLocation } from './location.ts';
import { type AddedSlotOptions, readAddedSlot, withAddedSlotOptions } from './secrets.ts';
import { formatSize } from './sizes.ts';
import { type StoreOptions, withStore, withStoreOptions, withUnlockedHeader } from './volume-access.ts';

/** `netseal key list|add|remove STORE` */
export function keyCommand(): Command {
  return new Command('key')
    .description('List, add and remove the passphrases and key files that open a volume.')
    .addCommand(keyAction('list', 'List the slots of a volume; * marks the one that opened it.').action(list))
    .addCommand(withAddedSlotOptions(keyAction('add', 'Add a slot with another secret.')).action(add))
    .addCommand(
      keyAction('remove', 'Remove a slot. This is not revocation: see below.')
        .argument('<slot>', 'its id, or so much of the beginning that only one fits')
        .addHelpText('after', `\n${NOT_REVOKED}`)
        .action(remove),
    );
}

const NOT_REVOKED =
  'Whoever knows the secret of a removed slot, and has a copy of an older volume header, can still read the volume.';

function keyAction(name: string, description: string): Command {
  const command = new Command(name)
    .description(description)
    .argument('<store>', 'a folder, or a file:// URL');
  return withStoreOptions(command);
}

function list(text: string, options: StoreOptions): Promise<void> {
  return withInterrupt(signal =>
    withUnlockedHeader(parseLocation(text), options, signal, async ({ header }) => {
      process.stdout.write(options.json === true ? toJson(describeHeader(header)) : slotTable(header));
    }),
  );
}

function add(text: string, options: StoreOptions & AddedSlotOptions): Promise<void> {
  return withInterrupt(signal =>
    withStore(parseLocation(text), options, signal, async ({ store, state, secrets }) => {
      let newSlot: NewSlot | undefined;
      const change = async (header: VolumeHeader): Promise<VolumeHeader> => {
        // Asked for once, and not before the volume has opened.
        newSlot ??= await readAddedSlot(options, signal);
        signal.throwIfAborted();
        return header.addSlot(newSlot);
      };
      const header = await changeHeaderObject(store, secrets, state, change, { signal });
      header.keyring.destroy();
      // A new slot comes last.
      report(options, 'added', header.slots.at(-1), header);
    }),
  );
}

function remove(text: string, slotText: string, options: StoreOptions): Promise<void> {
  requireArgument(
    /^[0-9a-f]{1,32}$/i.test(slotText),
    `not a slot's id: "${slotText}"; see "netseal key list"`,
  );
  return withInterrupt(signal =>
    withStore(parseLocation(text), options, signal, async ({ store, state, secrets }) => {
      let removed: SlotInfo | undefined;
      const change = (header: VolumeHeader): VolumeHeader => {
        removed = findSlot(header.slots, removed?.id ?? slotText.toLowerCase());
        return header.removeSlot(removed.id);
      };
      const header = await changeHeaderObject(store, secrets, state, change, { signal });
      header.keyring.destroy();
      report(options, 'removed', removed, header);
      process.stderr.write(`netseal: this is not revocation. ${NOT_REVOKED}\n`);
    }),
  );
}

/** EINVAL unless exactly one id begins so. */
function findSlot(slots: readonly SlotInfo[], idStart: string): SlotInfo {
  const [slot, ...others] = slots.filter(({ id }) => id.startsWith(idStart));
  requireArgument(slot !== undefined, `the volume has no slot ${idStart}; see "netseal key list"`);
  requireArgument(
    others.length === 0,
    `${others.length + 1} slots begin with ${idStart}: give more of the id`,
  );
  return slot;
}

function report(
  { json = false }: StoreOptions,
  what: 'added' | 'removed',
  slot: SlotInfo | undefined,
  header: VolumeHeader,
): void {
  if (slot === undefined) return;
  const { id, type, label } = slot;
  process.stdout.write(
    json
      ? toJson({ [what]: { id, type, label }, generation: header.generation })
      : `${what} slot ${id}, ${type}, "${label}"; the volume has ${header.slots.length} now\n`,
  );
}

function describeHeader(header: VolumeHeader): unknown {
  const { volumeId, generation, epoch } = header;
  return { volumeId, generation, epoch, slots: header.slots.map(slot => describeSlot(slot, header)) };
}

function describeSlot(slot: SlotInfo, header: VolumeHeader): Record<string, unknown> {
  return {
    id: slot.id,
    type: slot.type,
    label: slot.label,
    createdAt: new Date(slot.createdAtMs).toISOString(),
    opened: header.openedSlotIds.includes(slot.id),
    ...(slot.type === 'passphrase' ? { argon2: slot.cost } : {}),
    ...(slot.type === 'callback' ? { provider: slot.provider } : {}),
  };
}

function slotTable(header: VolumeHeader): string {
  const rows = header.slots.map(slot => [
    header.openedSlotIds.includes(slot.id) ? '*' : ' ',
    slot.id,
    slot.type,
    new Date(slot.createdAtMs).toISOString().slice(0, 16).replace('T', ' '),
    slot.type === 'passphrase' ? describeCost(slot.cost) : '-',
    slot.label,
  ]);
  const table = [[' ', 'slot', 'type', 'created (UTC)', 'argon2id', 'label'], ...rows];
  const widths = table.reduce<number[]>(
    (most, row) => row.map((cell, column) => Math.max(most[column] ?? 0, cell.length)),
    [],
  );
  const lines = table.map(row =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  return `${lines.join('\n')}\n`;
}

function describeCost({
  memoryKiB,
  passes,
  lanes,
}: {
  memoryKiB: number;
  passes: number;
  lanes: number;
}): string {
  return `${formatSize(memoryKiB * 1024)}, ${passes} passes, ${lanes} lanes`;
}

function toJson(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
