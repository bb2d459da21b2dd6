/** What the processes of `processes.test.ts` do, and what that makes of their files. */
export type FileStep =
  /** As a file of its own, or as one of several that arrive together. */
  | { readonly kind: 'create'; readonly path: string; readonly isPacked: boolean }
  | { readonly kind: 'append'; readonly path: string; readonly text: string }
  | { readonly kind: 'remove'; readonly path: string }
  | { readonly kind: 'rename'; readonly from: string; readonly to: string };

export const FOLDERS: readonly string[] = ['', '/one', '/two'];

export function contentOf(path: string): string {
  return `content of ${path}`;
}

/** A process's files by path. */
export type Files = ReadonlyMap<string, string>;

export function filesAfter(files: Files, step: FileStep): Files {
  const next = new Map(files);
  if (step.kind === 'create') next.set(step.path, contentOf(step.path));
  else if (step.kind === 'append') next.set(step.path, (files.get(step.path) ?? '') + step.text);
  else if (step.kind === 'remove') next.delete(step.path);
  else {
    next.delete(step.from);
    next.set(step.to, files.get(step.from) ?? '');
  }
  return next;
}
