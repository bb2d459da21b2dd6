/**
 * A scheduler for tests: one seed decides in which order servers answer and timers fire, and time passes only
 * when a timer is chosen. It holds what waits for a turn, and lets one go on after the other, each time after
 * everything else has come to rest.
 *
 * A test that waits for something that nobody is going to do fails with a list of what it waits for, instead of
 * hanging.
 */
import { type Chance, seededChance } from '../../src/base/chance.ts';
import type { Scheduler } from '../../src/base/scheduler.ts';

interface Waiting {
  readonly label: string;
  /** Undefined for a turn, which can come at any time. */
  readonly atMs: number | undefined;
  readonly go: () => void;
}

export interface TurnOptions {
  /** How many rounds of the event loop everything gets to come to rest. */
  readonly restRounds?: number;
  /** How likely a timer fires although turns are waiting, from 0 to 1. */
  readonly timerShare?: number;
  /** True where threads work outside of the scheduler: rest is then waited for in real time. */
  readonly hasThreads?: boolean;
}

/** Rounds of rest, with nothing to choose from, after which a test is stuck. */
const STUCK_ROUNDS = 400;
const STUCK_TIMERS = 2000;
const STUCK_THREAD_MS = 10_000;

export class Turns implements Scheduler {
  readonly seed: number;
  readonly #chance: Chance;
  readonly #restRounds: number;
  readonly #timerShare: number;
  readonly #hasThreads: boolean;
  readonly #waiting: Waiting[] = [];
  /** Labels that get no turn for now. */
  readonly #held = new Set<(label: string) => boolean>();
  #nowMs = 1_000_000_000_000;
  /** The labels of all turns, in order: what a failure can be replayed by hand from. */
  readonly log: string[] = [];

  constructor(seed: number, options: TurnOptions = {}) {
    this.seed = seed;
    this.#chance = seededChance(seed);
    this.#restRounds = options.restRounds ?? 3;
    this.#timerShare = options.timerShare ?? 0.02;
    this.#hasThreads = options.hasThreads ?? false;
  }

  now(): number {
    return this.#nowMs;
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return this.#wait('timer', this.#nowMs + Math.max(0, delayMs), signal);
  }

  /** Resolves when it is this one's turn. Rejects with the signal's reason when aborted. */
  turn(label: string, signal?: AbortSignal): Promise<void> {
    return this.#wait(label, undefined, signal);
  }

  /** What waits for a turn, in the order in which it came. */
  get waiting(): readonly string[] {
    return this.#waiting.map(({ label }) => label);
  }

  /** Gives no turn to labels that match, until the returned function is called. */
  hold(matches: (label: string) => boolean): () => void {
    this.#held.add(matches);
    return () => this.#held.delete(matches);
  }

  /** Gives turns until `work` has settled. Fails when nothing is left to do and it has not. */
  async run<Result>(work: Promise<Result>): Promise<Result> {
    let isSettled = false;
    const settle = (): void => {
      isSettled = true;
    };
    work.then(settle, settle);
    await this.until(() => isSettled);
    return await work;
  }

  /** Gives turns until a condition holds. */
  async until(isTrue: () => boolean): Promise<void> {
    const patience = new Patience(this.#hasThreads);
    for (;;) {
      await this.rest();
      if (isTrue()) return;
      if (await patience.goesOn(this.step())) continue;
      throw new Error(`seed ${this.seed}: nothing goes on; waiting: ${this.waiting.join(', ') || 'nothing'}`);
    }
  }

  /** Gives turns until nothing but timers waits for one. */
  async settle(): Promise<void> {
    for (;;) {
      await this.rest();
      const turn = this.#choose(true);
      if (turn === undefined) return;
      this.#let(turn);
    }
  }

  /** Lets time pass, with every timer on the way and all turns between them. */
  async pass(delayMs: number): Promise<void> {
    await this.run(this.sleep(delayMs));
  }

  /** Gives one turn, and says what it gave; undefined when there is none to give. */
  step(): 'turn' | 'timer' | undefined {
    const next = this.#choose(false);
    if (next === undefined) return undefined;
    this.#let(next);
    return next.atMs === undefined ? 'turn' : 'timer';
  }

  /** Waits until everything that can go on without a turn has done so. */
  async rest(): Promise<void> {
    for (let round = 0; round < this.#restRounds; round += 1) await new Promise(setImmediate);
  }

  #choose(turnsOnly: boolean): Waiting | undefined {
    const free = this.#waiting.filter(({ label }) => ![...this.#held].some(matches => matches(label)));
    const turns = free.filter(({ atMs }) => atMs === undefined);
    const timers = turnsOnly ? [] : free.filter(({ atMs }) => atMs !== undefined);
    const wantsTimer = timers.length > 0 && (turns.length === 0 || this.#chance() < this.#timerShare);
    if (!wantsTimer) return turns[Math.floor(this.#chance() * turns.length)];
    return timers.reduce((first, each) => ((each.atMs ?? 0) < (first.atMs ?? 0) ? each : first));
  }

  #let(next: Waiting): void {
    this.#waiting.splice(this.#waiting.indexOf(next), 1);
    this.#nowMs = Math.max(this.#nowMs, next.atMs ?? 0);
    this.log.push(next.atMs === undefined ? next.label : `${next.label} at ${next.atMs}`);
    next.go();
  }

  #wait(label: string, atMs: number | undefined, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const onAbort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        reject(signal?.reason);
      };
      const waiting: Waiting = {
        label,
        atMs,
        go: () => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        },
      };
      this.#waiting.push(waiting);
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }
}

/** Tells when a test is stuck. */
class Patience {
  readonly #hasThreads: boolean;
  #idleRounds = 0;
  #timersInARow = 0;
  #busyAtMs = performance.now();

  constructor(hasThreads: boolean) {
    this.#hasThreads = hasThreads;
  }

  /** Notes what was given. Resolves with false when there is no use in waiting any longer. */
  async goesOn(given: 'turn' | 'timer' | undefined): Promise<boolean> {
    if (given !== undefined) {
      this.#idleRounds = 0;
      this.#busyAtMs = performance.now();
      this.#timersInARow = given === 'timer' ? this.#timersInARow + 1 : 0;
      // Something that only looks at the clock again and again does not go on, either.
      return this.#timersInARow < STUCK_TIMERS;
    }
    this.#idleRounds += 1;
    if (!this.#hasThreads) return this.#idleRounds < STUCK_ROUNDS;
    await new Promise(resolve => setTimeout(resolve, 1));
    return performance.now() - this.#busyAtMs < STUCK_THREAD_MS;
  }
}
