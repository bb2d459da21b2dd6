/** What a verification found: damaged objects of the store, each with the files and byte ranges that it affects. */
import type { ErrorCode, NetsealError } from '../../base/errors.ts';
import { sizeToUnitCount } from '../../base/geometry.ts';
import type { Id } from '../../base/ids.ts';
import type { FileInode, InodeType } from '../../server/sealed/inode.ts';
import type { NameRange, UnitRange } from './walk.ts';

/** [from, to) in bytes of a file. */
export interface ByteSpan {
  readonly from: number;
  readonly to: number;
}

export interface Affected {
  /** All paths that lead to it, as bytes of Latin-1 characters; the root's is empty. */
  readonly paths: readonly string[];
  readonly type: InodeType;
  /** Of a file: what cannot be read, ascending. Undefined: all of it. */
  readonly bytes?: readonly ByteSpan[] | undefined;
  /** Of a folder: where the names that cannot be read lie. Undefined: all of it. */
  readonly names?: readonly NameRange[] | undefined;
}

export interface Damage {
  /** Of the object in the store. */
  readonly key: string;
  readonly what: 'inode' | 'names' | 'map page' | 'unit' | 'footer' | 'link count' | 'history';
  /** Of the first finding; all of one damage have its code. */
  readonly error: NetsealError;
  readonly affected: readonly Affected[];
}

/** Something in the volume. */
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

/** Collects findings: one damage for each object, part and kind of error. */
export class DamageLog {
  readonly #findings = new Map<string, Findings>();

  get size(): number {
    return this.#findings.size;
  }

  /** Without an item nothing in the volume is affected. */
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
   * Ordered by key, and by path.
   *
   * @param pathsOf all paths of a file with several names; undefined if it has one.
   */
  damages(pathsOf: (id: Id) => readonly string[] | undefined): Damage[] {
    const all = [...this.#findings.values()].map(({ key, what, error, items }) => ({
      key,
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

/** Findings of one file mostly come in order: they are joined at once, so that a lost file takes little memory. */
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

/** The bytes of a file that units hold; undefined when they lie behind its end. */
export function unitsToBytes(
  { unitSizeBytes, sizeBytes }: Pick<FileInode, 'unitSizeBytes' | 'sizeBytes'>,
  { from, to }: UnitRange,
): ByteSpan | undefined {
  const end = Math.min(to, sizeToUnitCount(sizeBytes, unitSizeBytes));
  if (from >= end) return undefined;
  return { from: from * unitSizeBytes, to: Math.min(sizeBytes, end * unitSizeBytes) };
}
