/** Keeps V8 from letting garbage pile up in a process that makes much of it. */
import { setFlagsFromString } from 'node:v8';

const FLAG = '--semi-space-growth-factor';
/** A process may run several commands. */
let isSmall = false;

/**
 * Keeps V8's space for new objects at 1 MiB from now on. By default it grows to several times 16 MiB while a
 * tree is copied, and is then filled with garbage before V8 collects. Collecting more often costs nothing
 * that can be measured: what a copy makes is small and dies at once.
 *
 * Call it when all large modules are loaded: V8 takes compiled code that Node has kept only while its flags
 * are the same.
 */
export function keepYoungHeapSmall(): void {
  if (isSmall) return;
  isSmall = true;
  setFlagsFromString(`${FLAG}=1`);
  // Node saves compiled code after this event. It is of use to later processes only under their flags.
  process.once('exit', () => setFlagsFromString(`${FLAG}=2`));
}
