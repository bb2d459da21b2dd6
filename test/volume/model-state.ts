/** What a volume holds, as plain maps: what several clients' operations may have made of it, in any order. */
import { createHash } from 'node:crypto';

export type Node =
  | { readonly type: 'file'; readonly content: string; readonly mode: number }
  | { readonly type: 'symlink'; readonly target: string; readonly mode: number }
  | { readonly type: 'fifo'; readonly mode: number }
  | { readonly type: 'folder'; readonly entries: ReadonlyMap<string, string>; readonly mode: number };

/** By the ids that the volume gave them. What no name leads to stays. */
export type State = ReadonlyMap<string, Node>;

export interface At {
  readonly folder: string;
  readonly name: string;
}

/** An operation as it was called. */
export type Operation =
  | { readonly kind: 'mkdir'; readonly at: At; readonly id: string; readonly mode: number }
  | {
      readonly kind: 'put';
      readonly at: At;
      readonly id: string;
      readonly node: Node;
      readonly replace: boolean;
    }
  | { readonly kind: 'write'; readonly id: string; readonly before: string; readonly after: string }
  | { readonly kind: 'chmod'; readonly id: string; readonly mode: number }
  | { readonly kind: 'unlink'; readonly at: At }
  | { readonly kind: 'rmdir'; readonly at: At }
  | { readonly kind: 'link'; readonly from: At; readonly to: At }
  | { readonly kind: 'rename'; readonly from: At; readonly to: At };

/** What a call came to: 'ok' or an error's code. */
export interface Done {
  readonly operation: Operation;
  readonly code: string;
}

function folderOf(state: State, id: string): ReadonlyMap<string, string> | undefined {
  const node = state.get(id);
  return node?.type === 'folder' ? node.entries : undefined;
}

export function idAt(state: State, { folder, name }: At): string | undefined {
  return folderOf(state, folder)?.get(name);
}

function withEntry(state: State, { folder, name }: At, id: string | undefined): State {
  const node = state.get(folder);
  if (node?.type !== 'folder') return state;
  const entries = new Map(node.entries);
  if (id === undefined) entries.delete(name);
  else entries.set(name, id);
  return new Map(state).set(folder, { ...node, entries });
}

function without(state: State, id: string): State {
  const rest = new Map(state);
  rest.delete(id);
  return rest;
}

function isWithin(state: State, upper: string, lower: string): boolean {
  if (upper === lower) return true;
  const entries = folderOf(state, upper);
  return entries !== undefined && [...entries.values()].some(id => isWithin(state, id, lower));
}

/** Carries an operation out alone: the state afterwards, or the code of its refusal. */
export function carryOut(state: State, operation: Operation): State | string {
  switch (operation.kind) {
    case 'mkdir':
    case 'put':
      return put(state, operation);
    case 'write': {
      const node = state.get(operation.id);
      if (node?.type !== 'file') return 'ENOENT';
      if (node.content !== operation.before) return 'ECONFLICT';
      return new Map(state).set(operation.id, { ...node, content: operation.after });
    }
    case 'chmod': {
      const node = state.get(operation.id);
      return node === undefined
        ? 'ENOENT'
        : new Map(state).set(operation.id, { ...node, mode: operation.mode });
    }
    case 'unlink': {
      const id = idAt(state, operation.at);
      if (id === undefined) return 'ENOENT';
      return state.get(id)?.type === 'folder' ? 'EISDIR' : withEntry(state, operation.at, undefined);
    }
    case 'rmdir':
      return rmdir(state, operation.at);
    case 'link':
      return link(state, operation.from, operation.to);
    case 'rename':
      return rename(state, operation.from, operation.to);
  }
}

function rmdir(state: State, at: At): State | string {
  const id = idAt(state, at);
  if (id === undefined) return 'ENOENT';
  const entries = folderOf(state, id);
  if (entries === undefined) return 'ENOTDIR';
  return entries.size > 0 ? 'ENOTEMPTY' : without(withEntry(state, at, undefined), id);
}

function link(state: State, from: At, to: At): State | string {
  const id = idAt(state, from);
  if (id === undefined) return 'ENOENT';
  if (folderOf(state, id) !== undefined) return 'EINVAL';
  if (folderOf(state, to.folder) === undefined) return 'ENOENT';
  const there = idAt(state, to);
  if (there === undefined) return withEntry(state, to, id);
  return folderOf(state, there) === undefined ? 'EEXIST' : 'EISDIR';
}

function put(state: State, operation: Extract<Operation, { kind: 'mkdir' | 'put' }>): State | string {
  const { at, id } = operation;
  if (folderOf(state, at.folder) === undefined) return 'ENOENT';
  const there = idAt(state, at);
  if (there !== undefined) {
    if (operation.kind === 'put' && state.get(there)?.type === 'folder') return 'EISDIR';
    if (operation.kind === 'mkdir' || !operation.replace) return 'EEXIST';
  }
  const node: Node =
    operation.kind === 'put' ? operation.node : { type: 'folder', entries: new Map(), mode: operation.mode };
  return new Map(withEntry(state, at, id)).set(id, node);
}

function rename(state: State, from: At, to: At): State | string {
  const id = idAt(state, from);
  if (id === undefined) return 'ENOENT';
  if (from.folder === to.folder && from.name === to.name) return state;
  if (folderOf(state, to.folder) === undefined) return 'ENOENT';
  const isFolder = folderOf(state, id) !== undefined;
  if (isFolder && isWithin(state, id, to.folder)) return 'EINVAL';
  const there = idAt(state, to);
  // Two names of one file stay both.
  if (there === id) return state;
  let next = state;
  if (there !== undefined) {
    const entries = folderOf(state, there);
    if (isFolder && entries === undefined) return 'ENOTDIR';
    if (!isFolder && entries !== undefined) return 'EISDIR';
    if (entries !== undefined && entries.size > 0) return 'ENOTEMPTY';
    if (entries !== undefined) next = without(next, there);
  }
  return withEntry(withEntry(next, from, undefined), to, id);
}

/** Refused for what it found: certainly nothing happened. */
const REFUSALS = new Set(['ENOENT', 'EEXIST', 'EISDIR', 'ENOTDIR', 'ENOTEMPTY', 'EINVAL']);

/** The states that an operation with this outcome may leave, when it takes its turn in `state`. */
function outcomes(state: State, { operation, code }: Done, isAlone: boolean, isMoving: boolean): State[] {
  const after = carryOut(state, operation);
  if (code === 'ok') return typeof after === 'string' ? [] : [after];
  if (code === 'EUNCERTAIN') return typeof after === 'string' ? [state] : [state, after];
  // While a folder is moved to another object, whoever came to it by its old name may not find it.
  if (code === 'ENOENT' && isMoving) return [state];
  const isOneStep = ['mkdir', 'put', 'unlink'].includes(operation.kind);
  // Operations of several steps may have met different states in each.
  if (REFUSALS.has(code) && (isAlone || isOneStep)) {
    // What is in the way may be noticed first.
    const isSame = after === code || (after === 'EINVAL' && ['ENOTDIR', 'ENOTEMPTY'].includes(code));
    return isSame ? [state] : [];
  }
  // A folder that was to be replaced has to be removed first.
  const isReplacing = operation.kind === 'rename' && !REFUSALS.has(code) && typeof after !== 'string';
  const there = operation.kind === 'rename' ? idAt(state, operation.to) : undefined;
  if (!isReplacing || there === undefined || folderOf(state, there) === undefined) return [state];
  return [state, without(withEntry(state, operation.to, undefined), there)];
}

/** A folder's node and name gone, wherever it is; undefined unless it is there and empty. */
function withoutFolder(state: State, id: string): State | undefined {
  if (folderOf(state, id)?.size !== 0) return undefined;
  for (const [folder, node] of state) {
    if (node.type !== 'folder') continue;
    for (const [name, child] of node.entries) {
      if (child === id) return without(withEntry(state, { folder, name }, undefined), id);
    }
  }
  return undefined;
}

/**
 * What only calls at the same time can come to. A folder is removed in a step of its own, by whatever name it has by then:
 * so a rename may move an empty folder that another call is removing.
 */
function racingOutcomes(state: State, { operation, code }: Done, past: readonly State[]): State[] {
  const idsAt = (at: At): string[] =>
    [...new Set(past.map(one => idAt(one, at)))].filter(id => id !== undefined);
  if (code !== 'ok') return [];
  if (operation.kind === 'rmdir') {
    return idsAt(operation.at)
      .map(id => withoutFolder(state, id))
      .filter(one => one !== undefined);
  }
  if (operation.kind !== 'rename') return [];
  // Another name of the file was put there after this one had been looked up: then one of the two is left.
  const isSame = idAt(state, operation.from) === idAt(state, operation.to);
  if (isSame && idAt(state, operation.to) !== undefined) return [withEntry(state, operation.from, undefined)];
  const isOfRemoved =
    idAt(state, operation.from) === undefined && idsAt(operation.from).some(id => !state.has(id));
  return isOfRemoved ? [state] : [];
}

/** What becomes of it when a rename has removed the empty folder in its way, and nothing else yet. */
function clearings({ operation }: Done, past: readonly State[]): State[] {
  const state = past.at(-1);
  if (operation.kind !== 'rename' || state === undefined) return [];
  return [...new Set(past.map(one => idAt(one, operation.to)))]
    .map(id => (id === undefined ? undefined : withoutFolder(state, id)))
    .filter(one => one !== undefined);
}

function except<Item>(items: readonly Item[], one: Item): Item[] {
  return items.filter(item => item !== one);
}

/** All states that these calls, which ran at the same time, may leave. */
export function statesAfter(before: readonly State[], done: readonly Done[]): State[] {
  const after: State[] = [];
  const isAlone = done.length === 1;
  const isMoving = !isAlone && done.some(({ operation }) => operation.kind === 'rename');
  const explore = (past: readonly State[], left: readonly Done[], clearing: readonly Done[]): void => {
    const state = past.at(-1) ?? new Map();
    if (left.length === 0) after.push(state);
    for (const next of left) {
      const reached = [...outcomes(state, next, isAlone, isMoving), ...racingOutcomes(state, next, past)];
      for (const one of reached) explore([...past, one], except(left, next), except(clearing, next));
    }
    for (const next of clearing) {
      for (const cleared of clearings(next, past)) explore([...past, cleared], left, except(clearing, next));
    }
  };
  const renames = isAlone ? [] : done.filter(({ operation }) => operation.kind === 'rename');
  for (const state of before) explore([state], done, renames);
  return after;
}

/** What can be seen from the root, as lines; equal exactly when two states look the same. */
export function linesOf(state: State, rootId: string): string[] {
  const lines: string[] = [];
  const visit = (id: string, path: string): void => {
    const node = state.get(id);
    const what =
      node === undefined
        ? 'lost'
        : node.type === 'folder'
          ? 'folder'
          : node.type === 'file'
            ? `file ${brief(node.content)}`
            : node.type === 'fifo'
              ? 'fifo'
              : `-> ${brief(node.target)}`;
    lines.push(`${path} ${id.slice(0, 6)} ${node?.mode.toString(8)} ${what}`);
    for (const [name, below] of folderOf(state, id) ?? []) visit(below, `${path}/${name}`);
  };
  visit(rootId, '');
  return lines.sort();
}

function brief(text: string): string {
  return text.length < 40
    ? JSON.stringify(text)
    : `${text.length} of ${createHash('sha256').update(text).digest('hex').slice(0, 12)}`;
}
