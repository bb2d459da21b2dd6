/** Opens units of many files: in groups, several groups at once. */

import type { NetsealError } from '../../base/errors.ts';
import { MIB } from '../../base/geometry.ts';
import { OpenedPacks } from '../../server/sealed/opened-packs.ts';
import type { Sealing } from '../../server/sealed/sealing.ts';
import { ReadCost, readUnits, type UnitToRead } from '../../server/sealed/unit-reader.ts';
import type { Session } from '../session/session.ts';

/**
 * The most plain bytes, and the most sealed bytes, of a group. A group has at least one unit. A pack of which
 * it has several units counts once, and is opened once.
 */
const GROUP_BYTES: number = 4 * MIB;
const GROUP_UNITS = 1024;
/** How many groups are being opened at once. */
const GROUPS_MAX = 4;

export interface UnitToCheck extends UnitToRead {
  /** Called when the unit cannot be read or opened. */
  readonly fail: (error: NetsealError) => void;
}

export class UnitChecker {
  readonly #session: Session;
  /** Without the packs that the session has opened: those in the store are to be checked. */
  readonly #sealing: Sealing;
  readonly #signal: AbortSignal | undefined;
  readonly #onOpened: (units: number, sealedBytes: number) => void;
  readonly #running = new Set<Promise<void>>();
  #group: UnitToCheck[] = [];
  #cost = new ReadCost();
  #failure: { readonly error: unknown } | undefined;

  constructor(
    session: Session,
    onOpened: (units: number, sealedBytes: number) => void,
    signal: AbortSignal | undefined,
  ) {
    this.#session = session;
    this.#sealing = { ...session.sealing, packs: new OpenedPacks() };
    this.#onOpened = onOpened;
    this.#signal = signal;
  }

  /**
   * Takes a unit. Waits while enough groups are being opened. Rejects with the error of an earlier group that
   * failed as a whole.
   */
  async add(unit: UnitToCheck): Promise<void> {
    const { slabBytes } = this.#session.sealing.pipeline;
    const { plainBytes, sealedBytes } = this.#cost.with(unit);
    const isFull =
      plainBytes > Math.min(GROUP_BYTES, slabBytes / 8) ||
      sealedBytes > Math.min(GROUP_BYTES, slabBytes / 4) ||
      this.#group.length >= GROUP_UNITS;
    if (isFull && this.#group.length > 0) await this.#send();
    this.#group.push(unit);
    this.#cost.add(unit);
  }

  /** Resolves when every unit has been opened, or its `fail` called. */
  async finish(): Promise<void> {
    if (this.#group.length > 0 && this.#signal?.aborted !== true) await this.#send();
    await Promise.all(this.#running);
    this.#throwFailure();
  }

  async #send(): Promise<void> {
    const group = this.#group;
    const { plainBytes, sealedBytes } = this.#cost;
    this.#group = [];
    this.#cost = new ReadCost();
    while (this.#running.size >= GROUPS_MAX) await Promise.race(this.#running);
    this.#throwFailure();
    const ended = this.#open(group, plainBytes)
      .then(() => this.#onOpened(group.length, sealedBytes))
      .catch(error => {
        this.#failure ??= { error };
      })
      .finally(() => this.#running.delete(ended));
    this.#running.add(ended);
  }

  async #open(group: readonly UnitToCheck[], plainBytes: number): Promise<void> {
    const { readBudget } = this.#session;
    await readBudget.acquire(plainBytes, this.#signal);
    try {
      const { units, release } = await readUnits(this.#sealing, group, this.#signal);
      for (const [at, { fail }] of group.entries()) {
        const error = units[at]?.error;
        if (error !== undefined) fail(error);
      }
      release();
    } finally {
      readBudget.release(plainBytes);
    }
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}
