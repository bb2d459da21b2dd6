/** A callback of the application's. What it throws becomes a warning of the process: nothing in the cache is to fail for it. */
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
