/** All commands of netseal. A new command is one file, which exports `command()`, and one line here. */
import type { CommandTable } from './lib/command-table.ts';

/** In the order in which `netseal help` lists them. */
export const COMMANDS: CommandTable = {
  seal: ['compress and encrypt a file or pipe', () => import('./stream/seal.ts')],
  open: ['decrypt and decompress what "netseal seal" wrote', () => import('./stream/open.ts')],
  init: ['make an empty volume in a store', () => import('./volume/init.ts')],
  ls: ['list folders and files of a volume', () => import('./volume/ls.ts')],
  stat: ['show everything about files and folders', () => import('./volume/stat.ts')],
  inspect: ['show what files are made of, and where that lies', () => import('./volume/inspect.ts')],
  cat: ['write files, or parts of them, to standard output', () => import('./volume/cat.ts')],
  write: ['write standard input into a file, at any place of it', () => import('./volume/write.ts')],
  mkdir: ['make folders', () => import('./volume/mkdir.ts')],
  mv: ['rename and move files and folders', () => import('./volume/mv.ts')],
  ln: ['make hard and symbolic links', () => import('./volume/ln.ts')],
  rm: ['remove files and folders', () => import('./volume/rm.ts')],
  du: ['add up sizes by folder', () => import('./volume/du.ts')],
  put: ['copy files and folders into a volume', () => import('./volume/put.ts')],
  get: ['copy files and folders out of a volume', () => import('./volume/get.ts')],
  status: ['say whether all that was put is in the store', () => import('./volume/status.ts')],
  probe: ['try whether a store is safe for several writers', () => import('./volume/probe.ts')],
  verify: ['look for damage in a volume', () => import('./volume/verify.ts')],
  gc: ['delete what nothing in a volume refers to any more', () => import('./volume/gc.ts')],
  key: ['list, add and remove the secrets that open a volume', () => import('./volume/key.ts')],
  rekey: ['change the key of a volume, and seal everything anew', () => import('./volume/rekey.ts')],
  state: ['list and forget what this client remembers of stores', () => import('./volume/state.ts')],
  remote: ['name stores, so that NAME:/path reaches them', () => import('./volume/remote.ts')],
  cache: ['make and look after a local cache, sealed at rest', () => import('./cache/commands.ts')],
  bench: ['measure settings on your data, and recommend one', () => import('./bench.ts')],
  completion: [
    'print a script that lets your shell complete commands',
    async () => {
      const { completionCommand } = await import('./describe/completion.ts');
      return { command: () => completionCommand(COMMANDS) };
    },
  ],
};
