import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NetsealError } from '../../../src/base/errors.ts';
import { type ErrorCursor, ErrorSequence } from '../../../src/netfs/regions/errseq.ts';
import { checkProperty } from '../../support/property.ts';

const CODES = ['EFULL', 'EDENIED', 'EIO'] as const;

type Step = readonly ['open'] | readonly ['record', number] | readonly ['take', number];

const steps: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.oneof(
    fc.tuple(fc.constant('open' as const)),
    fc.tuple(fc.constant('record' as const), fc.nat({ max: CODES.length })),
    fc.tuple(fc.constant('take' as const), fc.nat({ max: 5 })),
  ),
  { maxLength: 40 },
);

/** An error as the model sees it: a list of who was told. */
interface Happened {
  readonly error: Error;
  readonly kind: number;
  isTold: boolean;
}

/** What `take` should return for these errors, oldest first: the newest of each kind, in order. */
function expected(untold: readonly Happened[]): Error[] {
  return untold
    .filter((one, at) => !untold.slice(at + 1).some(later => later.kind === one.kind))
    .map(one => one.error);
}

/** The errors that a taken error stands for, oldest first. */
function told(taken: unknown): unknown[] {
  if (taken === undefined) return [];
  const { cause } = taken as Error;
  return cause instanceof AggregateError ? cause.errors : [taken];
}

/** A sequence beside a list of everything that happened. */
class Model {
  readonly sequence = new ErrorSequence();
  readonly history: Happened[] = [];
  readonly #cursors: { cursor: ErrorCursor; untold: Happened[] }[] = [];

  open(): void {
    const untold = this.history.filter(({ isTold }) => !isTold);
    this.#cursors.push({ cursor: this.sequence.open(), untold });
  }

  record(kind: number): void {
    const code = CODES[kind];
    const text = `no ${this.history.length}`;
    const error = code === undefined ? new TypeError(text) : new NetsealError(code, text);
    this.sequence.record(error);
    const happened: Happened = { error, kind, isTold: false };
    this.history.push(happened);
    for (const { untold } of this.#cursors) untold.push(happened);
  }

  take(which: number): void {
    const one = this.#cursors[which];
    if (one === undefined) return;
    const { cursor, untold } = one;
    expect(told(cursor.take())).toEqual(expected(untold));
    if (untold.length > 0) for (const happened of this.history) happened.isTold = true;
    untold.length = 0;
  }
}

describe('an error sequence', () => {
  it('S37: tells each open file each error once, and a new one what nobody has been told', () => {
    checkProperty(steps, all => {
      const model = new Model();
      for (const step of all) {
        if (step[0] === 'open') model.open();
        else if (step[0] === 'record') model.record(step[1]);
        else model.take(step[1]);
        expect(model.sequence.last).toBe(model.history.at(-1)?.error);
      }
    });
  });

  it('keeps the code of the newest error when several kinds are told at once', () => {
    const sequence = new ErrorSequence();
    const cursor = sequence.open();
    sequence.record(new NetsealError('EDENIED', 'first'));
    sequence.record(new NetsealError('EFULL', 'second'));
    expect(cursor.take()).toMatchObject({ code: 'EFULL', message: 'second' });
    expect(cursor.take()).toBeUndefined();
  });
});
