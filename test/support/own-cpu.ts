/**
 * Returns the processor time that this thread has taken so far, in ms. Tests that bound how long the thread was kept
 * busy measure with it: unlike a clock, it does not count the time of other processes.
 */
export function ownCpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}
