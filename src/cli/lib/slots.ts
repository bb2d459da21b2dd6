/** Slots of a header, of a volume or a cache, as people and programs read them. */
import { requireArgument } from '../../base/errors.ts';
import type { SlotInfo, VolumeHeader } from '../../keys/volume-header.ts';
import { formatSize } from './sizes.ts';

/** What the header is of. */
export type Keyed = 'volume' | 'cache';

export function notRevoked(what: Keyed): string {
  return `Whoever knows the secret of a removed slot, and has a copy of an older ${what} header, can still read the ${what}.`;
}

/** EINVAL unless the text could begin a slot's id. @param command that lists them. */
export function parseSlotStart(text: string, command: string): string {
  requireArgument(/^[0-9a-f]{1,32}$/i.test(text), `not a slot's id: "${text}"; see "${command}"`);
  return text.toLowerCase();
}

/** EINVAL unless exactly one id begins so. */
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

/** What became of a slot. */
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
    ? slotJson({ [did]: { id, type, label }, generation: header.generation })
    : `${did} slot ${id}, ${type}, "${label}"; the ${what} has ${header.slots.length} now\n`;
}

/** All slots: a table, or JSON. */
export function slotList(asJson: boolean, header: VolumeHeader, idName: 'volumeId' | 'cacheId'): string {
  if (!asJson) return slotTable(header);
  const { volumeId, generation, epoch } = header;
  return slotJson({
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

function slotJson(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
