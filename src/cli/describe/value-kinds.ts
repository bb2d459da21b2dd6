/** What a shell offers as completions for a value. The name of the value in its command's help decides. */
import type { ValueInfo } from './command-tree.ts';

/** `path` is a local file or folder, or `STORE:/path`, whose names in the volume are not offered. */
export type ValueKind = 'file' | 'folder' | 'path' | 'other';

/** The kinds of all names of values. Every new name has to be added here. */
export const VALUE_KINDS: Readonly<Record<string, ValueKind>> = {
  choices: 'other',
  codec: 'other',
  codecs: 'other',
  command: 'other',
  count: 'other',
  dir: 'folder',
  duration: 'other',
  file: 'file',
  folder: 'folder',
  kind: 'other',
  mode: 'other',
  name: 'other',
  object: 'other',
  octal: 'other',
  padding: 'other',
  paddings: 'other',
  path: 'path',
  pattern: 'other',
  percent: 'other',
  rate: 'other',
  'rate,round-trip': 'other',
  scheme: 'other',
  share: 'other',
  shell: 'other',
  size: 'other',
  sizes: 'other',
  slot: 'other',
  store: 'folder',
  suite: 'other',
  suites: 'other',
  target: 'path',
  text: 'other',
  time: 'other',
  volume: 'other',
};

export function kindOf({ name }: ValueInfo): ValueKind {
  return VALUE_KINDS[name] ?? 'other';
}
