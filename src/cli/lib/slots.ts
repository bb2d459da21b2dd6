/** The key slots in the header of a volume or a cache, as people and programs read them. */
import { requireArgument } from '../../base/errors.ts';
import type { SlotInfo, VolumeHeader } from '../../keys/volume-header.ts';
import { jsonDocument } from './json.ts';
import { Columns } from './lines.ts';
import { formatSize } from './sizes.ts';
import { formatUtcMinute, formatUtcMs } from './times.ts';

/** The thing that the header belongs to. */
export type Keyed = 'volume' | 'cache';

export function notRevoked(what: Keyed): string {
  return `Anyone who knows the secret of a removed slot and has a copy of an older ${what} header can still read the ${what}.`;
}

/**
 * Returns the text in lower case. EINVAL unless it could begin a slot's id.
 *
 * @param command the command that lists the ids, for the message.
 */
export function parseSlotStart(text: string, command: string): string {
  requireArgument(/^[0-9a-f]{1,32}$/i.test(text), `not a slot's id: "${text}"; see "${command}"`);
  return text.toLowerCase();
}

/** Returns the slot whose id begins with `idStart`. EINVAL when there is none, or more than one. */
export function findSlot(
  slots: readonly SlotInfo[],
  idStart: string,
  what: Keyed,
  command: string,
): SlotInfo {
  const [slot, ...others] = slots.filter(({ id }) => id.startsWith(idStart));
  requireArgument(slot !== undefined, `the ${what} has no slot ${idStart}; see "${command}"`);
  requireArgument(
    others.length === 0,
    `${others.length + 1} slots begin with ${idStart}: give more of the id`,
  );
  return slot;
}

/** Returns the report of a command that added or removed a slot. */
export function slotReport(
  asJson: boolean,
  did: 'added' | 'removed',
  slot: SlotInfo | undefined,
  header: VolumeHeader,
  what: Keyed,
): string {
  if (slot === undefined) return '';
  const { id, type, label } = slot;
  return asJson
    ? jsonDocument({ [did]: { id, type, label }, generation: header.generation })
    : `${did} slot ${id}, ${type}, "${label}"; the ${what} has ${header.slots.length} now\n`;
}

/** Returns the list of all slots: a table, or JSON. */
export function slotList(asJson: boolean, header: VolumeHeader, idName: 'volumeId' | 'cacheId'): string {
  if (!asJson) return slotTable(header);
  const { volumeId, generation, epoch } = header;
  return jsonDocument({
    [idName]: volumeId,
    generation,
    epoch,
    slots: header.slots.map(slot => describeSlot(slot, header)),
  });
}

function describeSlot(slot: SlotInfo, header: VolumeHeader): Record<string, unknown> {
  return {
    id: slot.id,
    type: slot.type,
    label: slot.label,
    createdAt: formatUtcMs(slot.createdAtMs),
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
    formatUtcMinute(slot.createdAtMs),
    slot.type === 'passphrase' ? describeCost(slot.cost) : '-',
    slot.label,
  ]);
  const table = [[' ', 'slot', 'type', 'created (UTC)', 'argon2id', 'label'], ...rows];
  const columns = new Columns();
  for (const row of table) columns.fit(row);
  return table.map(row => `${columns.join(row, 'end').trimEnd()}\n`).join('');
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
