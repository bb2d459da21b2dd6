/**
 * Reads nodes (leaves, map pages) from this machine where they are kept, else from segments. A node that
 * cannot be read is represented by its error.
 */
import { isNetsealError, NetsealError } from '../../base/errors.ts';
import { MIB } from '../../base/geometry.ts';
import type { ControlSealer } from './control.ts';
import { fetchAll, planFetches } from './fetch.ts';
import type { NodeAt } from './kept-records.ts';
import type { Pointer } from './pointer.ts';
import type { Sealing } from './sealing.ts';

export interface ControlToRead {
  readonly at: NodeAt;
  readonly pointer: Pointer;
}

/** The most plain bytes that a leaf or map page holds. */
export const NODE_BYTES_MAX: number = MIB;

/**
 * Fetches and opens records. Rejects with the signal's reason.
 *
 * @returns for each record, in the order of the request, its plain bytes, which the caller owns, or an error:
 *   EMISSING, ETRUNCATED, an error of the store, or an error of {@link ControlSealer.open}.
 */
export async function readControl(
  sealing: Sealing,
  requests: readonly ControlToRead[],
  signal?: AbortSignal,
): Promise<(Uint8Array | NetsealError)[]> {
  const kept = await readKept(sealing, requests);
  signal?.throwIfAborted();
  const left = requests.filter((_, order) => kept[order] === undefined);
  const fetched = left.length === 0 ? [] : await fetchControl(sealing, left, signal);
  let next = 0;
  return requests.map(
    (_, order) => kept[order] ?? fetched[next++] ?? new NetsealError('EBUG', 'a node was not read'),
  );
}

/** Opens the nodes that are kept on this machine. A node that does not open is dropped there. */
async function readKept(
  { nodes, control }: Sealing,
  requests: readonly ControlToRead[],
): Promise<readonly (Uint8Array | undefined)[]> {
  if (nodes === undefined) return [];
  const wanted = requests.map(({ at, pointer }) => {
    return { at: originOf(at, pointer), tag: pointer.tag, lengthBytes: pointer.lengthBytes };
  });
  const records = await nodes.read(wanted);
  return wanted.map((version, order) => {
    const record = records[order];
    if (record === undefined) return undefined;
    const plain = openNode(control, version.at, record, version.tag);
    if (!isNetsealError(plain)) return plain;
    nodes.drop(version);
    return undefined;
  });
}

/** Fetches nodes from segments. Those that open are kept on this machine from then on. */
async function fetchControl(
  { store, control, nodes }: Sealing,
  requests: readonly ControlToRead[],
  signal: AbortSignal | undefined,
): Promise<(Uint8Array | NetsealError)[]> {
  const plan = planFetches(requests.map(({ pointer }) => pointer));
  const sealed = new Uint8Array(plan.totalBytes);
  const errors = await fetchAll(store, plan, sealed, signal);
  const opened: { at: NodeAt; bytes: Uint8Array }[] = [];
  const results = requests.map(({ at: asked, pointer }, order) => {
    const error = errors.get(order);
    if (error !== undefined) return error;
    const offset = plan.offsets[order] ?? 0;
    const bytes = sealed.subarray(offset, offset + pointer.lengthBytes);
    const at = originOf(asked, pointer);
    const plain = openNode(control, at, bytes, pointer.tag);
    if (!isNetsealError(plain)) opened.push({ at, bytes });
    return plain;
  });
  nodes?.keep(opened);
  return results;
}

/** Returns the place that a node was sealed for. */
function originOf({ kind, objectId, index }: NodeAt, { origin }: Pointer): NodeAt {
  return { kind, ...(origin ?? { objectId, index }) };
}

function openNode(
  control: ControlSealer,
  at: NodeAt,
  record: Uint8Array,
  tag: Uint8Array,
): Uint8Array | NetsealError {
  try {
    return control.open(at, record, NODE_BYTES_MAX, tag);
  } catch (failure) {
    if (isNetsealError(failure)) return failure;
    throw failure;
  }
}
