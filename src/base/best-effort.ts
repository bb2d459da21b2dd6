/** Work whose failure is no error for the caller. */
import { isNetsealError } from './errors.ts';

/**
 * Waits for work that is done later by other means if it fails. Rejects only with what is no NetsealError:
 * that is a bug.
 */
export async function bestEffort(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!isNetsealError(error)) throw error;
  }
}
