/** The commands there are. What one needs is loaded when it runs: the others, and the list of all, should not wait for it. */
import type { Command } from 'commander';

interface CommandEntry {
  /** Its line in the list of all commands. */
  readonly summary: string;
  readonly load: () => Promise<Command>;
}

/** In the order of the list. */
const COMMANDS: Readonly<Record<string, CommandEntry>> = {
  seal: {
    summary: 'compress and encrypt a file or pipe',
    load: async () => (await import('./stream/seal-open.ts')).sealCommand(),
  },
  open: {
    summary: 'decrypt and decompress what "netseal seal" wrote',
    load: async () => (await import('./stream/seal-open.ts')).openCommand(),
  },
  init: {
    summary: 'make an empty volume in a store',
    load: async () => (await import('./volume/init.ts')).initCommand(),
  },
  ls: {
    summary: 'list folders and files of a volume',
    load: async () => (await import('./volume/ls.ts')).lsCommand(),
  },
  stat: {
    summary: 'tell everything about files and folders',
    load: async () => (await import('./volume/stat.ts')).statCommand(),
  },
  cat: {
    summary: 'write files, or parts of them, to standard output',
    load: async () => (await import('./volume/cat.ts')).catCommand(),
  },
  mkdir: {
    summary: 'make folders',
    load: async () => (await import('./volume/mkdir.ts')).mkdirCommand(),
  },
  mv: {
    summary: 'rename and move',
    load: async () => (await import('./volume/mv.ts')).mvCommand(),
  },
  ln: {
    summary: 'make hard and symbolic links',
    load: async () => (await import('./volume/ln.ts')).lnCommand(),
  },
  rm: {
    summary: 'remove files and folders',
    load: async () => (await import('./volume/rm.ts')).rmCommand(),
  },
  du: {
    summary: 'add up sizes by folder',
    load: async () => (await import('./volume/du.ts')).duCommand(),
  },
  put: {
    summary: 'copy files and folders into a volume',
    load: async () => (await import('./volume/copy.ts')).putCommand(),
  },
  get: {
    summary: 'copy files and folders out of a volume',
    load: async () => (await import('./volume/copy.ts')).getCommand(),
  },
  verify: {
    summary: 'look for damage in a volume',
    load: async () => (await import('./volume/verify.ts')).verifyCommand(),
  },
  gc: {
    summary: 'delete what nothing in a volume refers to any more',
    load: async () => (await import('./volume/gc.ts')).gcCommand(),
  },
  key: {
    summary: 'list, add and remove what opens a volume',
    load: async () => (await import('./volume/key.ts')).keyCommand(),
  },
  cache: {
    summary: 'make and look after a local cache, sealed at rest',
    load: async () => (await import('./cache/commands.ts')).cacheCommand(),
  },
  bench: {
    summary: 'measure on your data, and recommend a setting',
    load: async () => (await import('./stream/bench.ts')).benchCommand(),
  },
};

/** Names with summaries. */
export function listCommands(): [name: string, summary: string][] {
  return Object.entries(COMMANDS).map(([name, { summary }]) => [name, summary]);
}

/** Undefined when there is no such command. */
export async function loadCommand(name: string): Promise<Command | undefined> {
  if (!Object.hasOwn(COMMANDS, name)) return undefined;
  const entry = COMMANDS[name];
  return (await entry?.load())?.summary(entry?.summary ?? '');
}
