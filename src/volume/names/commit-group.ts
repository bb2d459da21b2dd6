/**
 * A group of changes that share one commit, and the outcome of each. The commit itself is in `live-inode.ts`.
 */
import { NetsealError } from '../../base/errors.ts';
import type { Id } from '../../base/ids.ts';
import type { Inode, Writer } from '../../server/sealed/inode.ts';
import { WRITERS_MAX } from '../../server/sealed/inode-format.ts';
import type { Version } from '../../server/store.ts';
import type { Reliance } from '../session/keep-young.ts';
import { makeDurable, type Session } from '../session/session.ts';
import type { Draft } from './draft.ts';

export type Change<Result> = (draft: Draft) => Promise<Result> | Result;

export interface ApplyOptions {
  /**
   * Checks another object that the change depends on. It is called before each attempt to commit, after the
   * state that the attempt replaces was read. If it rejects, the change is refused.
   */
  readonly validate?: (() => Promise<void>) | undefined;
}

export interface Pending {
  readonly change: Change<unknown>;
  readonly validate: (() => Promise<void>) | undefined;
  readonly resolve: (result: never) => void;
  readonly reject: (error: unknown) => void;
}

/** The outcome of a change in one attempt. */
export type Outcome =
  | { readonly result: unknown; readonly segments: ReadonlySet<Id> }
  | { readonly error: unknown };

/** One attempt to commit a group. */
export interface Attempt {
  readonly outcomes: readonly Outcome[];
  /** The keys of inode objects that it refers to. */
  readonly referred: ReadonlySet<Id>;
  /** The inode that it replaces; undefined for the first version. */
  readonly before: Inode | undefined;
  /** What was built of it. */
  readonly draft: Draft;
}

/** The commit of one group, over all its attempts. */
export interface GroupCommit {
  readonly group: readonly Pending[];
  /** The attempts by their nonces. The one that is found in the store counts. */
  readonly attempts: Map<Id, Attempt>;
  /** Changes that are out of the commit: their validation failed, or their segments could not be stored. */
  readonly refused: Map<Pending, { readonly error: unknown }>;
  /** Attempts whose answer was lost. They may have happened, or may happen yet. */
  lost: LostAttempts | undefined;
  /** Whether the next attempt has to read the inode first. */
  mustRead: boolean;
  /** The objects that the attempts refer to. They are checked, as a gc may have taken them for garbage. */
  readonly reliance: Reliance;
}

/**
 * Attempts to commit whose answers were lost. All of them replace the same state. Once the store holds
 * another state, none of them can happen any more.
 */
interface LostAttempts {
  readonly oldestVersion: number;
  /** The store's version of that state; undefined if there was no object. */
  readonly replacing: Version | undefined;
}

/** True when a list of writers reaches back far enough to say who made a version, or that nobody has yet. */
export function covers(writers: readonly Writer[], version: number): boolean {
  const oldest = writers.at(-1);
  return oldest === undefined || writers.length < WRITERS_MAX || oldest.version <= version;
}

/** Resolves or rejects each change of a group with its outcome. */
export function settle(group: readonly Pending[], outcomes: readonly Outcome[]): void {
  for (const [at, { resolve, reject }] of group.entries()) {
    const outcome = outcomes[at];
    if (outcome === undefined) reject(new NetsealError('EBUG', 'a change was not carried out'));
    else if ('error' in outcome) reject(outcome.error);
    else resolve(outcome.result as never);
  }
}

/** Applies the changes that were not refused to a draft. Returns an outcome for each change of the group. */
export async function applyAll({ group, refused }: GroupCommit, draft: Draft): Promise<Outcome[]> {
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

/** Validates the changes. Returns true if any was refused now: then the others must be applied anew. */
export async function refuseInvalid(
  { group, refused }: GroupCommit,
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

/**
 * Refuses the changes whose own segments could not be stored, so that the others may go on. Returns true if
 * any was.
 */
export async function refuseUnstored(
  session: Session,
  { group, refused }: GroupCommit,
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
    `inode ${id}: the answer was lost, and it is unknown whether it was changed`,
    {
      cause,
    },
  );
}
