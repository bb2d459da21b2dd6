import { describe, expect, it } from 'vitest';
import { COMMIT_AFTER_MS, CommitClock, REPLACED_AFTER_MS } from '../../../src/netfs/regions/commit-clock.ts';

const ROOM = 1000;

describe('the commit clock', () => {
  it('counts from the first change that no commit has begun to publish', () => {
    const clock = new CommitClock();
    expect(clock.dueAtMs).toBeUndefined();
    expect(clock.reason(1e9, 0, ROOM)).toBeUndefined();
    clock.changed(100);
    clock.changed(4000);
    expect(clock.reason(100 + COMMIT_AFTER_MS - 1, 0, ROOM)).toBeUndefined();
    expect(clock.reason(100 + COMMIT_AFTER_MS, 0, ROOM)).toBe('age');
    clock.began();
    expect(clock.dueAtMs).toBeUndefined();
    clock.changed(9000);
    expect(clock.dueAtMs).toBe(9000 + COMMIT_AFTER_MS);
  });

  it('asks for a commit when records fill three quarters of their room, whatever their age', () => {
    const clock = new CommitClock();
    clock.changed(0);
    expect(clock.reason(0, 749, ROOM)).toBeUndefined();
    expect(clock.reason(0, 750, ROOM)).toBe('records');
  });

  it('waits longer while a file is being replaced', () => {
    const clock = new CommitClock();
    clock.changed(0);
    const end = clock.beginReplacing();
    const endOther = clock.beginReplacing();
    expect(clock.dueAtMs).toBe(REPLACED_AFTER_MS);
    end();
    end();
    expect(clock.dueAtMs).toBe(REPLACED_AFTER_MS);
    endOther();
    expect(clock.dueAtMs).toBe(COMMIT_AFTER_MS);
  });
});
