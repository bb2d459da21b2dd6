/** Libraries that only some stores need. They are loaded when such a store is opened, and need not be installed before. */
import { messageOf, NetsealError } from '../../base/errors.ts';

/**
 * Returns what the library exports. EUNSUPPORTED, with the command that installs it, when it is not there. Bundlers do not
 * see its name, and so do not ask for it.
 *
 * @param library the package's name.
 * @param purpose what needs it, for the message: `s3:// stores`.
 */
export async function loadLibrary<Library>(library: string, purpose: string): Promise<Library> {
  try {
    return (await import(library)) as Library;
  } catch (cause) {
    const isMissing = cause instanceof Error && Reflect.get(cause, 'code') === 'ERR_MODULE_NOT_FOUND';
    if (!isMissing)
      throw new NetsealError('EUNSUPPORTED', `${library} does not load: ${messageOf(cause)}`, { cause });
    const advice = `${purpose} need the package ${library}: install it with "npm install ${library}"`;
    throw new NetsealError('EUNSUPPORTED', advice, { cause });
  }
}
