/**
 * Wraps a callback of the application: an error that it throws becomes a warning of the process, and the
 * cache goes on.
 */
export function guarded<Arguments extends unknown[]>(
  callback: (...given: Arguments) => void,
): (...given: Arguments) => void {
  return (...given) => {
    try {
      callback(...given);
    } catch (error) {
      process.emitWarning(error instanceof Error ? error : String(error));
    }
  };
}
