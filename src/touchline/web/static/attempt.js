/**
 * The key of one write that may have to be sent again.
 *
 * Invariant: while the outcome of a request is unknown its key stays, so that it can't happen twice; after an
 * answer, or for another request, there is a new key.
 */
export class Attempt {
  #key = null;
  #request = null;

  /** Return `request` with its key: the kept one where the outcome of this very request is unknown. */
  keyed(request) {
    const asked = JSON.stringify(request);
    if (this.#key === null || this.#request !== asked) {
      this.#key = newKey();
      this.#request = asked;
    }
    return { ...request, idempotency_key: this.#key };
  }

  /** Forget the key: the platform has answered. */
  answered() {
    this.#key = null;
    this.#request = null;
  }
}

// randomUUID() exists on secure origins only, and a platform tried out on a home network has none.
function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join(
    "",
  );
}
