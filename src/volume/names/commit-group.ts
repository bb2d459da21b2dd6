/** A group of changes on its way into one commit, and what comes of each. The commit itself is in `live-inode.ts`. */
import { NetsealError } from '../../base/errors.ts';
import type { Id } from '../../base/ids.ts';
import type { Writer } from '../../server/sealed/inode.ts';
import { WRITERS_MAX } from '../../server/sealed/inode-format.ts';
import type { Version } from '../../server/store.ts';
import type { Reliance } from '../session/keep-young.ts';
import { makeDurable, type Session } from '../session/session.ts';
import type { Draft } from './draft.ts';

export type Change<Result> = (draft: Draft) => Promise<Result> | Result;

export interface ApplyOptions {
  /**
   * Called before each attempt to commit, after the inode was read. Rejecting refuses the change. For changes that depend
   * on another object: what it sees there was so after the state that the commit replaces was read.
   */
  readonly validate?: (() => Promise<void>) | undefined;
}

export interface Pending {
  readonly change: Change<unknown>;
  readonly validate: (() => Promise<void>) | undefined;
  readonly resolve: (result: never) => void;
  readonly reject: (error: unknown) => void;
}

/** What came of a change in one attempt. */
export type Outcome =
  | { readonly result: unknown; readonly segments: ReadonlySet<Id> }
  | { readonly error: unknown };

/** The attempts to commit one group. */
export interface CommitRun {
  readonly group: readonly Pending[];
  /** What each attempt would have come to, by its nonce. */
  readonly attempts: Map<Id, readonly Outcome[]>;
  /** Changes that did not pass their validation. */
  readonly refused: Map<Pending, { readonly error: unknown }>;
  /** Attempts whose answer was lost, and which may have happened or happen yet. */
  lost: LostAttempts | undefined;
  mustRead: boolean;
  /** What the attempts refer to: gone if a gc took it for garbage. */
  readonly reliance: Reliance;
}

/** All were to replace the same state: once another is there, none of them can happen any more. */
interface LostAttempts {
  readonly oldestVersion: number;
  /** The store's version of that state; undefined: nothing. */
  readonly replacing: Version | undefined;
}

/** Whether the writers that are kept say who made a version, or that nobody has made it yet. */
export function covers(writers: readonly Writer[], version: number): boolean {
  const oldest = writers.at(-1);
  return oldest === undefined || writers.length < WRITERS_MAX || oldest.version <= version;
}

export function settle(group: readonly Pending[], outcomes: readonly Outcome[]): void {
  for (const [at, { resolve, reject }] of group.entries()) {
    const outcome = outcomes[at];
    if (outcome === undefined) reject(new NetsealError('EBUG', 'a change was not carried out'));
    else if ('error' in outcome) reject(outcome.error);
    else resolve(outcome.result as never);
  }
}

export async function applyAll({ group, refused }: CommitRun, draft: Draft): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const pending of group) {
    const refusal = refused.get(pending);
    if (refusal !== undefined) {
      outcomes.push(refusal);
      continue;
    }
    try {
      const result = await draft.run(pending.change);
      outcomes.push({ result, segments: draft.lastSegments });
    } catch (error) {
      outcomes.push({ error });
    }
  }
  return outcomes;
}

/** Validates what would be committed. True when some of it is refused after all, so that the rest must be applied anew. */
export async function refuseInvalid(
  { group, refused }: CommitRun,
  outcomes: readonly Outcome[],
): Promise<boolean> {
  let isAnyRefused = false;
  for (const [at, pending] of group.entries()) {
    const outcome = outcomes[at];
    if (pending.validate === undefined || outcome === undefined || 'error' in outcome) continue;
    try {
      await pending.validate();
    } catch (error) {
      refused.set(pending, { error });
      isAnyRefused = true;
    }
  }
  return isAnyRefused;
}

/** Refuses the changes whose own segments could not be stored: others in the group have nothing to do with that. */
export async function refuseUnstored(
  session: Session,
  { group, refused }: CommitRun,
  outcomes: readonly Outcome[],
): Promise<boolean> {
  let isAnyRefused = false;
  for (const [at, pending] of group.entries()) {
    const outcome = outcomes[at];
    if (outcome === undefined || 'error' in outcome || outcome.segments.size === 0) continue;
    try {
      await makeDurable(session, outcome.segments);
    } catch (error) {
      refused.set(pending, { error });
      isAnyRefused = true;
    }
  }
  return isAnyRefused;
}

export function uncertain(id: Id, cause?: unknown): NetsealError {
  return new NetsealError(
    'EUNCERTAIN',
    `inode ${id}: the answer was lost, and nobody can tell whether it was changed`,
    {
      cause,
    },
  );
}
