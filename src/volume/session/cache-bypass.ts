/** Makes reads bypass the local cache while a caller must see what the store has. */
export class CacheBypass {
  #count = 0;

  /** True while any caller bypasses the cache. */
  get isOn(): boolean {
    return this.#count > 0;
  }

  /** Begins to read past the cache, until the function that it returns is called. */
  begin(): () => void {
    this.#count += 1;
    let hasEnded = false;
    return () => {
      if (!hasEnded) this.#count -= 1;
      hasEnded = true;
    };
  }
}
