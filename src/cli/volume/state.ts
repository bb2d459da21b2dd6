/** `netseal state`: what this client remembers of stores, and how to forget one. */
import { resolve } from 'node:path';
import { Command } from 'commander';
import { NetsealError } from '../../base/errors.ts';
import { listAll } from '../../server/list-all.ts';
import { HEAD_PREFIX } from '../../server/sealed/object-keys.ts';
import {
  findRemembered,
  forgetState,
  listState,
  type RememberedStore,
} from '../../volume/state/state-list.ts';
import { confirm } from '../lib/confirm.ts';
import { inFrame } from '../lib/frame.ts';
import { jsonDocument, jsonList } from '../lib/json.ts';
import { Columns } from '../lib/lines.ts';
import { printable } from '../lib/printable.ts';
import { formatCount } from '../lib/sizes.ts';
import { formatTimeMs, formatUtcMinute } from '../lib/times.ts';
import { canonicalStoreName, localStorePath, openStoreAt, parseStore } from './location.ts';
import { stateFolder } from './options.ts';

interface StateOptions {
  readonly state?: string;
  readonly json?: boolean;
}

interface ForgetOptions extends StateOptions {
  readonly yes?: boolean;
  readonly heads?: boolean;
}

const FORGET_NOTES = `
Do this when you have restored a store from a backup yourself, and netseal refuses
it with EROLLBACK or EFORK. The next command counts as the first visit: it takes
what it is shown for current. What was written after the backup is lost.

Other clients tell one another what they have seen, by their heads in the store.
If those refuse the store as well, forget it on each machine, and once with
--heads, while nobody else works on it.`;

/** `netseal state list|forget` */
export function command(): Command {
  return new Command('state')
    .description('List and forget what this client remembers of stores.')
    .addCommand(stateAction('list', 'List the stores that this client remembers.').action(list))
    .addCommand(
      stateAction('forget', 'Forget a store, after it was restored from a backup.')
        .argument('<store>', 'a folder, or a URL; it need not exist any more')
        .option('--heads', 'also remove the heads of all clients from the store')
        .option('--yes', 'do not ask')
        .addHelpText('after', FORGET_NOTES)
        .action(forget),
    );
}

function stateAction(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .option(
      '--state <folder>',
      'folder for what this client remembers of stores (default: NETSEAL_STATE, $XDG_STATE_HOME/netseal or ~/.local/state/netseal)',
    )
    .option('--json', 'print the result as JSON');
}

function list(options: StateOptions): Promise<void> {
  return inFrame(async ({ print }) => {
    const stores = await listState(stateFolder(options));
    await print(options.json === true ? jsonList(stores.map(describe)) : tell(stores));
  });
}

function tell(stores: readonly RememberedStore[]): string {
  if (stores.length === 0) return 'nothing is remembered\n';
  const rows = stores.map(({ store, volumeId, generation, marks, changedAtMs }) => [
    volumeId ?? '-',
    String(generation ?? '-'),
    String(marks),
    formatUtcMinute(changedAtMs),
    printable(store ?? 'unknown store'),
  ]);
  const table = [['volume', 'header', 'marks', 'changed (UTC)', 'store'], ...rows];
  const columns = new Columns();
  for (const row of table) columns.fit(row);
  return table.map(row => `${columns.join(row, 'end').trimEnd()}\n`).join('');
}

function describe({ changedAtMs, ...remembered }: RememberedStore): Record<string, unknown> {
  return { ...remembered, changedAt: formatTimeMs(changedAtMs) };
}

function forget(text: string, options: ForgetOptions): Promise<void> {
  const { yes = false, heads = false, json = false } = options;
  const { storeText } = parseStore(text, 'state forget');
  return inFrame(async ({ signal, report }) => {
    const folder = stateFolder(options);
    const storeName = await nameOf(storeText);
    const known = await findRemembered(folder, storeName);
    if (known === undefined && !heads) {
      throw new NetsealError('ENOENT', `nothing is remembered of ${storeText}; see "netseal state list"`);
    }
    if (!yes) await confirm(question(storeText, known, heads), signal);
    signal.throwIfAborted();
    // The heads first: should the store fail, the command can be repeated.
    const removed = heads ? await removeHeads(storeText, signal) : 0;
    if (known !== undefined) await forgetState(folder, storeName);
    const forgotten = known === undefined ? null : describe(known);
    const also = heads ? `; removed ${formatCount(removed, 'head')} from it` : '';
    report(json ? jsonDocument({ forgotten, headsRemoved: removed }) : `forgot ${storeText}${also}\n`);
  });
}

function question(storeText: string, known: RememberedStore | undefined, heads: boolean): string {
  const parts = [
    known === undefined ? '' : `Forget ${formatCount(known.marks, 'mark')} of ${storeText}?`,
    known !== undefined && known.journals > 0
      ? `Interrupted copies of large files (${known.journals}) will begin anew.`
      : '',
    heads ? `Remove the heads of all clients from ${storeText}?` : '',
    'From then on an older version of it can pass unnoticed.',
  ];
  return printable(parts.filter(part => part !== '').join(' '));
}

/** Returns the store's canonical name, also when the store is gone. */
async function nameOf(storeText: string): Promise<string> {
  const path = localStorePath(storeText);
  if (path === undefined) return await canonicalStoreName(storeText);
  return await canonicalStoreName(storeText).catch(() => `file://${resolve(path)}`);
}

async function removeHeads(storeText: string, signal: AbortSignal): Promise<number> {
  const store = await openStoreAt(storeText);
  try {
    let removed = 0;
    for await (const { key } of listAll(store, HEAD_PREFIX, signal)) {
      await store.delete(key, { signal });
      removed += 1;
    }
    return removed;
  } finally {
    await store[Symbol.asyncDispose]();
  }
}
