/** `netseal remote`: short names for stores. */
import { resolve } from 'node:path';
import { Command } from 'commander';
import { NetsealError, requireArgument } from '../../base/errors.ts';
import { parseStoreUrl } from '../../server/adapters/store-url.ts';
import { inFrame } from '../lib/frame.ts';
import { jsonDocument, jsonList } from '../lib/json.ts';
import { Columns } from '../lib/lines.ts';
import { printable } from '../lib/printable.ts';
import { type SecretOptions, withSecretOptions } from '../lib/secrets.ts';
import { localStorePath, parseStore } from './location.ts';
import {
  checkRemoteName,
  configurationFolder,
  findRemote,
  type Remote,
  readRemotes,
  writeRemotes,
} from './remotes.ts';

interface RemoteOptions {
  readonly json?: boolean;
}

const JSON_OPTION = ['--json', 'print the result as JSON'] as const;

/** `netseal remote add|list|remove` */
export function command(): Command {
  const add = new Command('add')
    .description('Name a store, with the secret that its volume opens with.')
    .argument('<name>', '2 to 64 letters, digits, "-" and "_"')
    .argument('<store>', 'a folder, or a URL; it need not exist yet');
  return new Command('remote')
    .description('Name stores, so that NAME:/path reaches them.')
    .addCommand(
      withSecretOptions(add)
        .option(...JSON_OPTION)
        .action(addRemote),
    )
    .addCommand(
      new Command('list')
        .description('List the names, and what they stand for.')
        .option(...JSON_OPTION)
        .action(list),
    )
    .addCommand(
      new Command('remove')
        .description('Forget a name. The store stays as it is.')
        .argument('<name>', 'a name from the list')
        .option(...JSON_OPTION)
        .action(remove),
    );
}

function addRemote(name: string, text: string, options: RemoteOptions & SecretOptions): Promise<void> {
  checkRemoteName(name);
  const { storeText } = parseStore(text, 'remote add');
  requireArgument(
    findRemote(storeText) === undefined,
    `${storeText} is a remote itself; for a folder of that name write ./${storeText}`,
  );
  const { keyFile, passphraseFile, passphraseCommand } = options;
  const path = localStorePath(storeText);
  // A password in a URL is refused here.
  if (path === undefined) parseStoreUrl(storeText);
  // It is used in other folders than this one.
  const remote: Remote = {
    store: path === undefined ? storeText : resolve(path),
    ...(keyFile === undefined ? {} : { keyFile: resolve(keyFile) }),
    ...(passphraseFile === undefined ? {} : { passphraseFile: resolve(passphraseFile) }),
    ...(passphraseCommand === undefined ? {} : { passphraseCommand }),
  };
  const named = [keyFile, passphraseFile, passphraseCommand].filter(value => value !== undefined);
  requireArgument(named.length <= 1, 'a remote has one secret: name one file, or one command');
  return inFrame(async ({ report }) => {
    const remotes = readRemotes();
    if (remotes.has(name)) {
      throw new NetsealError('EEXIST', `there is a remote ${name}: "netseal remote remove ${name}" first`);
    }
    await writeRemotes(new Map([...remotes, [name, remote]]));
    report(
      options.json === true ? jsonDocument({ name, ...remote }) : `${name} is ${printable(remote.store)}\n`,
    );
  });
}

function list(options: RemoteOptions): Promise<void> {
  return inFrame(async ({ print }) => {
    const remotes = [...readRemotes()].sort(([one], [other]) => (one < other ? -1 : 1));
    if (options.json === true) {
      await print(jsonList(remotes.map(([name, remote]) => ({ name, ...remote }))));
      return;
    }
    const columns = new Columns();
    const rows = remotes.map(([name, remote]) => [
      name,
      printable(remote.store),
      printable(secretOf(remote)),
    ]);
    for (const row of rows) columns.fit(row);
    await print(rows.map(row => `${columns.join(row, 'end').trimEnd()}\n`).join(''));
  });
}

function secretOf({ keyFile, passphraseFile, passphraseCommand }: Remote): string {
  if (keyFile !== undefined) return `--key-file ${keyFile}`;
  if (passphraseFile !== undefined) return `--passphrase-file ${passphraseFile}`;
  return passphraseCommand === undefined ? '' : `--passphrase-command ${passphraseCommand}`;
}

function remove(name: string, options: RemoteOptions): Promise<void> {
  return inFrame(async ({ report }) => {
    const remotes = new Map(readRemotes());
    if (!remotes.delete(name)) {
      const advice = `no remote ${name} in ${configurationFolder()}; see "netseal remote list"`;
      throw new NetsealError('ENOENT', advice);
    }
    await writeRemotes(remotes);
    report(options.json === true ? jsonDocument({ removed: name }) : `forgot ${name}\n`);
  });
}
