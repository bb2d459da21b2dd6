/** The copies of large files that this client has begun and not ended, as their journals tell. */
import { readdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import type { ClientState } from './client-state.ts';
import { GET_JOURNAL_PREFIX } from './get-journal.ts';
import { PUT_JOURNAL_PREFIX } from './put-journal.ts';

/** How many large files are partly put, and partly got. A copy that is running counts as well. */
export interface UnfinishedCopies {
  readonly puts: number;
  readonly gets: number;
  /** When the one that has rested longest was last written to; undefined when there is none. */
  readonly oldestMs: number | undefined;
}

/** Looks at the journals of a state that is attached to its volume. Throws system errors. */
export function unfinishedCopies(state: ClientState): UnfinishedCopies {
  const path = state.journalPath(`${PUT_JOURNAL_PREFIX}none`);
  let [puts, gets] = [0, 0];
  let oldestMs: number | undefined;
  const folder = path === undefined ? undefined : dirname(path);
  for (const name of folder === undefined ? [] : readdirSync(folder)) {
    const isPut = name.startsWith(PUT_JOURNAL_PREFIX);
    if (!isPut && !name.startsWith(GET_JOURNAL_PREFIX)) continue;
    // One may end meanwhile.
    const mtimeMs = statSync(`${folder}/${name}`, { throwIfNoEntry: false })?.mtimeMs;
    if (mtimeMs === undefined) continue;
    if (isPut) puts += 1;
    else gets += 1;
    oldestMs = Math.min(oldestMs ?? mtimeMs, mtimeMs);
  }
  return { puts, gets, oldestMs };
}
