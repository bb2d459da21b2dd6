/**
 * The findings of a verification: damaged objects of the store, with the files and byte ranges that each
 * affects.
 */
import type { ErrorCode, NetsealError } from '../../base/errors.ts';
import { sizeToUnitCount } from '../../base/geometry.ts';
import type { Id } from '../../base/ids.ts';
import type { FileInode, InodeType } from '../../server/sealed/inode.ts';
import { type KeyScheme, storedKey } from '../../server/sealed/object-keys.ts';
import type { NameRange, UnitRange } from './walk.ts';

/** Bytes [from, to) of a file. */
export interface ByteSpan {
  readonly from: number;
  readonly to: number;
}

/** A file, folder or symlink that a damage affects. */
export interface Affected {
  /** All paths that lead to it, one character for each byte (Latin-1). The root's path is empty. */
  readonly paths: readonly string[];
  readonly type: InodeType;
  /** The spans of a file that cannot be read, ascending. Undefined: all of it. */
  readonly bytes?: readonly ByteSpan[] | undefined;
  /** The ranges of a folder's names that cannot be read. Undefined: all of it. */
  readonly names?: readonly NameRange[] | undefined;
}

/** One kind of error in one part of one object of the store. */
export interface Damage {
  /** The key of the object in the store. */
  readonly key: string;
  readonly what:
    | 'inode'
    | 'names'
    | 'map page'
    | 'unit'
    | 'pack'
    | 'footer'
    | 'link count'
    | 'entry count'
    | 'extension'
    | 'history';
  /** The error of the first finding. The others have the same code. */
  readonly error: NetsealError;
  readonly affected: readonly Affected[];
}

/** A file, folder or symlink under one of its paths. */
export interface AffectedItem {
  readonly id: Id;
  readonly type: InodeType;
  readonly path: string;
}

interface Finding {
  readonly item: AffectedItem;
  readonly bytes: ByteSpan[];
  readonly names: NameRange[];
  isWhole: boolean;
}

interface Findings {
  readonly key: string;
  readonly what: Damage['what'];
  readonly error: NetsealError;
  readonly items: Map<string, Finding>;
}

/** Collects findings into damages: one for each object, part and error code. */
export class DamageLog {
  readonly #findings = new Map<string, Findings>();
  readonly #scheme: KeyScheme;

  /** @param scheme of the volume: damages name the keys under which the store has the objects. */
  constructor(scheme: KeyScheme) {
    this.#scheme = scheme;
  }

  get size(): number {
    return this.#findings.size;
  }

  /** Adds a finding. Without `item` no file is affected; without `part` all of the item is. */
  add(
    key: string,
    what: Damage['what'],
    error: NetsealError,
    item?: AffectedItem,
    part: { readonly bytes?: ByteSpan; readonly names?: NameRange } = {},
  ): void {
    const code: ErrorCode = error.code;
    const name = `${key} ${what} ${code}`;
    let findings = this.#findings.get(name);
    if (findings === undefined) {
      findings = { key, what, error, items: new Map() };
      this.#findings.set(name, findings);
    }
    if (item === undefined) return;
    let finding = findings.items.get(item.id);
    if (finding === undefined) {
      finding = { item, bytes: [], names: [], isWhole: false };
      findings.items.set(item.id, finding);
    }
    if (part.bytes !== undefined) addSpan(finding.bytes, part.bytes);
    else if (part.names !== undefined) finding.names.push(part.names);
    else finding.isWhole = true;
  }

  /**
   * Returns the damages ordered by key, with what each affects ordered by path.
   *
   * @param pathsOf returns all paths of a file that may have several names; undefined for any other.
   */
  damages(pathsOf: (id: Id) => readonly string[] | undefined): Damage[] {
    const all = [...this.#findings.values()].map(({ key, what, error, items }) => ({
      key: storedKey(key, this.#scheme),
      what,
      error,
      affected: [...items.values()]
        .map(finding => affectedBy(finding, pathsOf(finding.item.id)))
        .sort((left, right) => compare(left.paths[0], right.paths[0])),
    }));
    return all.sort((left, right) => compare(left.key, right.key));
  }
}

function affectedBy(
  { item, bytes, names, isWhole }: Finding,
  paths: readonly string[] = [item.path],
): Affected {
  return {
    paths: [...paths].sort(compare),
    type: item.type,
    ...(isWhole || bytes.length === 0 ? {} : { bytes: joinSpans(bytes) }),
    ...(isWhole || names.length === 0 ? {} : { names }),
  };
}

function compare(left: string = '', right: string = ''): number {
  return left === right ? 0 : left < right ? -1 : 1;
}

/**
 * Adds a span. It joins the last one if they touch: findings come mostly in order, so a lost file takes
 * little memory.
 */
function addSpan(spans: ByteSpan[], span: ByteSpan): void {
  const last = spans.at(-1);
  if (last !== undefined && last.to === span.from) spans[spans.length - 1] = { from: last.from, to: span.to };
  else spans.push(span);
}

function joinSpans(spans: readonly ByteSpan[]): ByteSpan[] {
  const joined: ByteSpan[] = [];
  for (const span of [...spans].sort((left, right) => left.from - right.from)) {
    const last = joined.at(-1);
    if (last !== undefined && span.from <= last.to) {
      joined[joined.length - 1] = { from: last.from, to: Math.max(last.to, span.to) };
    } else {
      joined.push(span);
    }
  }
  return joined;
}

/** Returns the bytes of a file that a range of units holds; undefined when they lie behind its end. */
export function unitsToBytes(
  { unitSizeBytes, sizeBytes }: Pick<FileInode, 'unitSizeBytes' | 'sizeBytes'>,
  { from, to }: UnitRange,
): ByteSpan | undefined {
  const end = Math.min(to, sizeToUnitCount(sizeBytes, unitSizeBytes));
  if (from >= end) return undefined;
  return { from: from * unitSizeBytes, to: Math.min(sizeBytes, end * unitSizeBytes) };
}
