/** Options that every call shares that may take long. */
export interface CallOptions {
  /**
   * Rejects the call with the signal's reason when it aborts. What has begun may still be finished; its
   * result is dropped.
   */
  readonly signal?: AbortSignal | undefined;
}
