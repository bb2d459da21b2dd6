/**
 * Who is told which error of writing: each open file each error once, and one that nobody was told of yet also
 * whoever opens the file next. Against a model of counters, in any order of what can happen.
 */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { File } from '../../src/netfs/file.ts';
import { checkAsyncProperty } from '../support/property.ts';
import { patternOf } from './pattern.ts';
import { TestDisk } from './test-disk.ts';

/** `fail` lets the clock commit while the server is full; `sync` names an open file by its place in a list. */
type Event =
  | { readonly kind: 'open' }
  | { readonly kind: 'fail' }
  | { readonly kind: 'sync'; readonly file: number; readonly isFull: boolean }
  | { readonly kind: 'close'; readonly file: number };

const events: fc.Arbitrary<Event[]> = fc.array(
  fc.oneof(
    fc.constant<Event>({ kind: 'open' }),
    fc.constant<Event>({ kind: 'fail' }),
    fc.record({
      kind: fc.constant('sync' as const),
      file: fc.nat({ max: 3 }),
      isFull: fc.boolean(),
    }),
    fc.record({ kind: fc.constant('close' as const), file: fc.nat({ max: 3 }) }),
  ),
  { minLength: 2, maxLength: 12 },
);

interface Opened {
  readonly file: File;
  /** The number of the newest error that it was told of. */
  told: number;
}

async function check(sequence: readonly Event[]): Promise<void> {
  const test = await TestDisk.create(1);
  const { turns } = test;
  let isFull = false;
  /** How many commits have failed. */
  let errors = 0;
  const client = test.client('a', {
    fault: ({ operation }) => {
      if (!isFull || operation !== 'commit') return undefined;
      errors += 1;
      return 'full';
    },
  });
  const key = test.add();
  const opened: Opened[] = [];
  /** The newest error that anybody was told of. */
  let toldToAny = 0;
  let writes = 0;
  const open = async (): Promise<void> => {
    opened.push({ file: await client.open(key), told: toldToAny });
  };
  const write = async (file: File): Promise<void> => {
    writes += 1;
    await turns.run(file.write(patternOf(writes, 0, 600), { position: 0 }));
  };
  /** Calls something that tells of errors. */
  const ask = async (each: Opened, call: () => Promise<void>): Promise<void> => {
    const ended = await turns.run(call()).then(
      () => 'ok',
      (error: unknown) => (error instanceof Error && 'code' in error ? error.code : error),
    );
    const isTold = each.told < errors;
    expect(ended, `of ${JSON.stringify(sequence)}`).toBe(isTold ? 'EFULL' : 'ok');
    each.told = errors;
    if (isTold) toldToAny = errors;
  };
  await open();
  for (const event of sequence) {
    const each = 'file' in event ? opened[event.file % opened.length] : opened[0];
    if (event.kind === 'open' || each === undefined) {
      await open();
    } else if (event.kind === 'fail') {
      isFull = true;
      await write(each.file);
      await turns.pass(6000);
      isFull = false;
    } else if (event.kind === 'sync') {
      isFull = event.isFull;
      if (event.isFull) await write(each.file);
      await ask(each, () => each.file.sync());
      isFull = false;
    } else {
      // The last one to close would commit.
      if (opened.length === 1) continue;
      opened.splice(opened.indexOf(each), 1);
      await ask(each, () => each.file.close());
    }
  }
  for (const each of opened.splice(0)) await ask(each, () => each.file.close());
  expect(await test.close()).toEqual([]);
}

it('each open file is told each error once, and one that nobody knows the next one that opens (S35, S37)', async () => {
  await checkAsyncProperty(events, check);
});
