/** Files whose calls of one kind stop half-way until they are let go. */
import { setImmediate as turn } from 'node:timers/promises';
import { WatchedFiles } from './watched-files.ts';

export class HeldFiles extends WatchedFiles {
  readonly #held: (() => void)[] = [];
  #what: { readonly folder: string; readonly call: string } | undefined;

  /** Holds calls of this name on files in `folder` from now on. */
  hold(folder: string, call: string): void {
    this.#what = { folder, call };
  }

  /** Lets all held calls go on, and holds no more. */
  letGo(): void {
    this.#what = undefined;
    for (const go of this.#held.splice(0)) go();
  }

  /** Resolves when a call is being held. */
  async untilHeld(): Promise<void> {
    while (this.#held.length === 0) await turn();
  }

  override async wait(path: string, call: string): Promise<void> {
    await super.wait(path, call);
    const what = this.#what;
    if (what === undefined || call !== what.call || !path.startsWith(what.folder)) return;
    await new Promise<void>(resolve => this.#held.push(resolve));
    const fault = this.fault(path, call);
    if (fault !== undefined) throw fault;
  }
}
