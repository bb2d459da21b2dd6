/**
 * What a client remembers of heads: its own id, and the version of each head that it has read. So a process
 * reads only the heads that have changed. Kept as JSON next to the marks. Losing it costs requests and a new
 * id, but no protection.
 */
import { type Id, randomId } from '../../base/ids.ts';

/** A head as the store listed it when this client read it. */
export interface KnownHead {
  /** The object's version in the store, or what stands for one where lists have none. */
  readonly version: string;
  readonly modifiedAtMs: number;
  /** True for the head of a client that keeps no state: gc may remove it a day after it was written. */
  readonly isEphemeral: boolean;
}

interface HeadFields {
  clientId: Id;
  madeAtMs: number;
  mergedAtMs: number | undefined;
  writtenAtMs: number | undefined;
  heads: Map<Id, KnownHead>;
}

/**
 * A client whose head was not written for so long takes a new id. That is well before gc may remove the head,
 * so no removed head is ever written again.
 */
const ID_AGE_MS_MAX: number = 60 * 24 * 60 * 60 * 1000;
/** The same limit for a client that keeps no state: gc may remove its head after a day. */
const EPHEMERAL_ID_AGE_MS_MAX: number = 12 * 60 * 60 * 1000;
const ID_PATTERN = /^[0-9a-f]{32}$/;

export class HeadMemory {
  readonly #fields: HeadFields;
  #isChanged: boolean;
  /** The file that should have held this memory and was damaged: the client took a new id. Else undefined. */
  readonly damagedPath: string | undefined;
  /** True when this memory, and with it the client, ends with the process. */
  readonly isEphemeral: boolean;

  /** The memory of a new client, with a random id. */
  static fresh(nowMs: number = Date.now(), damagedPath?: string): HeadMemory {
    const madeAtMs = wholeMs(nowMs);
    const fields = { clientId: randomId(), madeAtMs, mergedAtMs: undefined, writtenAtMs: undefined };
    return new HeadMemory({ ...fields, heads: new Map() }, true, { damagedPath });
  }

  /** The memory of a client that ends with the process, with a random id. */
  static ephemeral(nowMs: number = Date.now()): HeadMemory {
    return new HeadMemory(HeadMemory.fresh(nowMs).#fields, true, { isEphemeral: true });
  }

  /** Returns undefined when the text is not what {@link encode} writes. */
  static decode(text: string): HeadMemory | undefined {
    const fields = parseFields(text);
    return fields === undefined ? undefined : new HeadMemory(fields, false);
  }

  private constructor(
    fields: HeadFields,
    isChanged: boolean,
    of: { readonly damagedPath?: string | undefined; readonly isEphemeral?: boolean } = {},
  ) {
    this.#fields = fields;
    this.#isChanged = isChanged;
    this.damagedPath = of.damagedPath;
    this.isEphemeral = of.isEphemeral ?? false;
  }

  /** The random id under which the store has this client's head. */
  get clientId(): Id {
    return this.#fields.clientId;
  }

  /** When this client last merged heads, or was made if it never has; ms since 1970, this machine's clock. */
  get mergedAtMs(): number {
    return this.#fields.mergedAtMs ?? this.#fields.madeAtMs;
  }

  /** True once this client has merged heads. Until then it knows only what it has read itself. */
  get hasMerged(): boolean {
    return this.#fields.mergedAtMs !== undefined;
  }

  /** When this client last wrote its head; ms since 1970, this machine's clock. */
  get writtenAtMs(): number | undefined {
    return this.#fields.writtenAtMs;
  }

  /** The heads that were read, by client. */
  get heads(): ReadonlyMap<Id, KnownHead> {
    return this.#fields.heads;
  }

  /** True when there is something to save. */
  get isChanged(): boolean {
    return this.#isChanged;
  }

  noteRead(client: Id, { version, modifiedAtMs, isEphemeral }: KnownHead): void {
    this.#fields.heads.set(client, { version, modifiedAtMs: wholeMs(modifiedAtMs), isEphemeral });
    this.#isChanged = true;
  }

  forget(client: Id): void {
    if (this.#fields.heads.delete(client)) this.#isChanged = true;
  }

  noteMerged(nowMs: number): void {
    this.#fields.mergedAtMs = wholeMs(nowMs);
    this.#isChanged = true;
  }

  noteWritten(nowMs: number): void {
    this.#fields.writtenAtMs = wholeMs(nowMs);
    this.#isChanged = true;
  }

  /** Takes a new id when the head was not written for too long. */
  renewId(nowMs: number): void {
    const { writtenAtMs } = this.#fields;
    // The absolute value: a clock that was ahead must not put this off.
    const ageMsMax = this.isEphemeral ? EPHEMERAL_ID_AGE_MS_MAX : ID_AGE_MS_MAX;
    if (writtenAtMs === undefined || Math.abs(nowMs - writtenAtMs) < ageMsMax) return;
    this.#fields.clientId = randomId();
    this.#fields.writtenAtMs = undefined;
    this.#isChanged = true;
  }

  /** Takes over what another process of the same client has saved. */
  absorb(other: HeadMemory): void {
    const { clientId, writtenAtMs, mergedAtMs, madeAtMs, heads } = other.#fields;
    const fields = this.#fields;
    // The id that has a head already is kept.
    if (fields.writtenAtMs === undefined) {
      fields.clientId = clientId;
      fields.writtenAtMs = writtenAtMs;
    } else if (clientId === fields.clientId) {
      fields.writtenAtMs = Math.max(fields.writtenAtMs, writtenAtMs ?? 0);
    }
    for (const [client, head] of heads) {
      if ((fields.heads.get(client)?.modifiedAtMs ?? 0) < head.modifiedAtMs) fields.heads.set(client, head);
    }
    fields.madeAtMs = Math.min(fields.madeAtMs, madeAtMs);
    if (mergedAtMs !== undefined) fields.mergedAtMs = Math.max(fields.mergedAtMs ?? 0, mergedAtMs);
  }

  /**
   * Returns true when there is something to save. Then the caller saves it, or calls {@link returnChanged}.
   */
  takeChanged(): boolean {
    const wasChanged = this.#isChanged;
    this.#isChanged = false;
    return wasChanged;
  }

  returnChanged(): void {
    this.#isChanged = true;
  }

  encode(): string {
    const { heads, ...fields } = this.#fields;
    return `${JSON.stringify({ ...fields, heads: Object.fromEntries(heads) }, null, 1)}\n`;
  }
}

/**
 * Returns whole ms, and 0 for NaN or an infinite time. JSON would turn those into null, which
 * {@link HeadMemory.decode} refuses.
 */
function wholeMs(timeMs: number): number {
  return Number.isFinite(timeMs) ? Math.trunc(timeMs) : 0;
}

function parseFields(text: string): HeadFields | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isObject(value)) return undefined;
  const { clientId, madeAtMs, mergedAtMs, writtenAtMs, heads: known } = value;
  if (typeof clientId !== 'string' || !ID_PATTERN.test(clientId) || !isTime(madeAtMs)) return undefined;
  if (!isObject(known)) return undefined;
  const heads = new Map<Id, KnownHead>();
  for (const [client, head] of Object.entries(known)) {
    if (!isObject(head) || !ID_PATTERN.test(client)) return undefined;
    const { version, modifiedAtMs, isEphemeral } = head;
    if (typeof version !== 'string' || !isTime(modifiedAtMs)) return undefined;
    if (typeof isEphemeral !== 'boolean') return undefined;
    heads.set(client, { version, modifiedAtMs, isEphemeral });
  }
  return {
    clientId,
    madeAtMs,
    mergedAtMs: isTime(mergedAtMs) ? mergedAtMs : undefined,
    writtenAtMs: isTime(writtenAtMs) ? writtenAtMs : undefined,
    heads,
  };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function isTime(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value);
}
