/** `netseal cache init`: makes an empty cache. */
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import { toHex } from '../../base/bytes.ts';
import { codeOf, NetsealError } from '../../base/errors.ts';
import { checkCacheSettings } from '../../cache/base/settings.ts';
import type { Cache } from '../../cache/cache.ts';
import { inspectVolumeHeader } from '../../keys/inspect.ts';
import type { NewSlot } from '../../keys/new-slot.ts';
import { openCacheIn } from '../lib/cache-opening.ts';
import { inFrame } from '../lib/frame.ts';
import { jsonDocument } from '../lib/json.ts';
import { resultWithWarning } from '../lib/notes.ts';
import { printable } from '../lib/printable.ts';
import { readNewSlot } from '../lib/secrets.ts';
import { missingFolders, namesIn as presentNames, removeFolders } from '../lib/undo-folders.ts';
import { type CacheOptions, cacheCommand } from './opening.ts';
import {
  type CacheSettingOptions,
  readCacheSettings,
  settingFields,
  settingLines,
  withCacheSettings,
} from './setting-options.ts';

interface InitOptions extends CacheOptions, CacheSettingOptions {
  readonly label?: string;
}

/** `netseal cache init DIR` */
export function command(): Command {
  const initCommand = cacheCommand('init', 'Make an empty cache, in a new folder or an empty one.').option(
    '--label <text>',
    "name for the first slot (default: its secret's type)",
  );
  return withCacheSettings(initCommand).action(init);
}

function init(folder: string, options: InitOptions): Promise<void> {
  return inFrame(async ({ signal, report }) => {
    const settings = await readCacheSettings(folder, options);
    checkCacheSettings(settings);
    await requireFree(folder);
    const slot = await readNewSlot(options, signal, options.label);
    signal.throwIfAborted();
    const missing = await missingFolders(folder);
    const before = await presentNames(folder);
    const cache = await openCacheIn(folder, settings, { key: { slots: [slot] } }).catch(async error => {
      // EDENIED: another process is making a cache here, or nothing could be made.
      if (codeOf(error) !== 'EDENIED') await removeBegun(folder, before);
      await removeFolders(missing);
      throw error;
    });
    try {
      const json = options.json === true;
      const id = await firstSlotId(folder);
      resultWithWarning(
        json,
        report,
        () => describe(folder, cache, id, slot, json),
        'keep the secret safe: without it nobody can read this cache, nor what is not on a server yet',
      );
    } finally {
      await cache.close();
    }
  });
}

/** The files that are left of a cache that was wiped, or that was not made to the end. */
const LEFT_BEHIND: ReadonlySet<string> = new Set([
  'lock',
  'owner',
  'zones',
  'dirty',
  'header.new',
  'header.old',
  'memory',
]);
/** If one of these files exists and there is no header, nothing in the folder can be opened again. */
const CLOSED_FOR_EVER: readonly string[] = ['header.old', 'memory'];

/** Removes what a failure has left of a cache in a folder that had the names `before`. */
async function removeBegun(folder: string, before: readonly string[]): Promise<void> {
  const news = (await presentNames(folder)).filter(name => !before.includes(name));
  for (const name of news) {
    const isOurs = LEFT_BEHIND.has(name) || /^(header|index|cache\.db.*)$/.test(name);
    if (isOurs) await rm(join(folder, name), { recursive: true, force: true });
  }
}

/**
 * Checks, before a passphrase is asked for, that the folder is new or empty, or holds only what is left of a
 * cache. EEXIST.
 */
async function requireFree(folder: string): Promise<void> {
  const names = await namesIn(folder);
  if (names.includes('header'))
    throw new NetsealError(
      'EEXIST',
      `${folder} already holds a cache: name another folder, or change this one with "netseal cache set"`,
    );
  if (CLOSED_FOR_EVER.some(name => names.includes(name))) return;
  const found = names.every(name => LEFT_BEHIND.has(name))
    ? [...(await namesIn(join(folder, 'zones'))), ...(await namesIn(join(folder, 'dirty')))]
    : names;
  if (found.length === 0) return;
  throw new NetsealError('EEXIST', `${folder} is not empty: name an empty folder, or a new one`);
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return [];
    if (code === 'ENOTDIR') {
      throw new NetsealError('EEXIST', `${folder} is not a folder: name another one`, { cause: error });
    }
    throw error;
  }
}

async function firstSlotId(folder: string): Promise<string> {
  const { slots } = inspectVolumeHeader(await readFile(join(folder, 'header')));
  return slots[0]?.id ?? '';
}

function describe(folder: string, cache: Cache, id: string, slot: NewSlot, asJson: boolean): string {
  const { type } = slot.secret;
  const cacheId = toHex(cache.id);
  if (asJson) {
    const fields = {
      cache: folder,
      cacheId,
      ...settingFields(cache.settings),
      slot: { id, type, label: slot.label },
    };
    return jsonDocument(fields);
  }
  return [
    `made cache ${cacheId} in ${printable(folder)}`,
    ...settingLines(cache.settings),
    `  slot    ${id}, ${type}, "${printable(slot.label)}"`,
    '',
  ].join('\n');
}
