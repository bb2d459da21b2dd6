/**
 * Random steps of an open file over its regions, against a list of what was done. Every byte is compared after
 * every step, every commit with the operations that it should hold, and at the end nothing may be stuck.
 */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { checkProperty } from '../../support/property.ts';
import { UNIT } from './support.ts';
import { SIZE_MAX, World } from './world.ts';

const offset = fc.nat({ max: SIZE_MAX - 1 });
const length = fc.oneof(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 3 * UNIT }));
const which = fc.nat({ max: 5 });
const unit = fc.nat({ max: SIZE_MAX / UNIT - 1 });

/** A step by name and numbers, so that a counterexample can be read. */
type Step = readonly [name: string, first: number, second: number];

const STEPS: Readonly<Record<string, (world: World, first: number, second: number) => void>> = {
  reserve: (world, first, second) => world.reserve(first, second),
  truncate: (world, first) => world.reserveTruncate(first),
  proceed: (world, first, second) => world.proceed(first, second, second % 2 === 0),
  stop: (world, first) => world.stop(first),
  writeNow: (world, first, second) => world.writeNow(first, second),
  flush: (world, first) => world.flush(first % 2 === 0 ? 'whole' : 'pressed'),
  flushAny: (world, first) => world.flushAny(first),
  place: (world, first) => world.place(first),
  upload: (world, first) => world.upload(first),
  fail: (world, first) => world.fail(first),
  evict: (world, first) => world.evict(first),
  beginFill: (world, first) => world.beginFill(first),
  endFill: (world, first) => world.endFill(first),
  closeGroup: world => world.closeGroup(),
  fold: world => world.fold(),
  beginCommit: world => world.beginCommit(),
  endCommit: (world, first) => world.endCommit(first > 0),
  interfere: (world, first) => world.interfere(first),
  discard: world => world.discard(),
};

const none: fc.Arbitrary<number> = fc.constant(0);

function step(name: string, first = none, second = none): fc.Arbitrary<Step> {
  return fc.tuple(fc.constant(name), first, second);
}

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: step('reserve', offset, length) },
  { weight: 2, arbitrary: step('truncate', fc.nat({ max: SIZE_MAX })) },
  { weight: 10, arbitrary: step('proceed', which, length) },
  { weight: 2, arbitrary: step('stop', which) },
  { weight: 3, arbitrary: step('writeNow', offset, length) },
  { weight: 4, arbitrary: step('flush', which) },
  { weight: 4, arbitrary: step('flushAny', unit) },
  { weight: 7, arbitrary: step('place', which) },
  { weight: 4, arbitrary: step('upload', which) },
  { weight: 2, arbitrary: step('fail', which) },
  { weight: 4, arbitrary: step('evict', fc.nat({ max: SIZE_MAX / 4 - 1 })) },
  { weight: 3, arbitrary: step('beginFill', unit) },
  { weight: 3, arbitrary: step('endFill', which) },
  { weight: 4, arbitrary: step('closeGroup') },
  { weight: 1, arbitrary: step('fold') },
  { weight: 4, arbitrary: step('beginCommit') },
  { weight: 4, arbitrary: step('endCommit', which) },
  { weight: 1, arbitrary: step('interfere', unit) },
  { weight: 1, arbitrary: step('discard') },
);

function run(sizeBytes: number, steps: readonly Step[]): void {
  const world = new World(sizeBytes);
  for (const [name, first, second] of steps) {
    STEPS[name]!(world, first, second);
    world.check();
  }
  world.drain();
}

it('reads what was written, and commits whole groups in order', () => {
  const values = fc.tuple(fc.nat({ max: SIZE_MAX }), fc.array(anyStep, { maxLength: 120, size: 'max' }));
  checkProperty(values, ([sizeBytes, steps]) => run(sizeBytes, steps), { weight: 6 });
  expect(Object.keys(STEPS).length).toBeGreaterThan(0);
});
