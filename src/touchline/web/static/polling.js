/**
 * A round of requests every few seconds, while somebody can see it.
 *
 * Invariant: rounds never overlap, none starts while the tab is hidden, and failures make the wait longer up to
 * `WAIT_MAX_MS`.
 */

import { Away, Problem } from "./api.js";

const WAIT_MAX_MS = 30_000;

export class Polling {
  #round;
  #intervalMs;
  #onConnection;
  #timer = null;
  #running = false;
  #busy = false;
  #again = false;
  #failures = 0;

  /** `round()` does the requests; `onConnection(null | {retryAtMs})` hears whether they get through. */
  constructor(round, intervalMs, onConnection = () => {}) {
    this.#round = round;
    this.#intervalMs = intervalMs;
    this.#onConnection = onConnection;
    document.addEventListener("visibilitychange", () => this.#visibilityChanged());
  }

  start() {
    this.#running = true;
    this.now();
  }

  stop() {
    this.#running = false;
    this.#failures = 0;
    clearTimeout(this.#timer);
    this.#onConnection(null);
  }

  /** Start a round at once, or right after the one under way. */
  async now() {
    clearTimeout(this.#timer);
    if (!this.#running || document.hidden) return;
    if (this.#busy) {
      this.#again = true;
      return;
    }
    this.#busy = true;
    try {
      await this.#round();
      this.#failures = 0;
    } catch (error) {
      if (!(error instanceof Away || error instanceof Problem)) throw error;
      this.#failures += 1;
    } finally {
      this.#busy = false;
      this.#scheduleNext();
    }
  }

  #scheduleNext() {
    if (!this.#running) return;
    const again = this.#again && this.#failures === 0;
    this.#again = false;
    const waitMs = again ? 0 : Math.min(this.#intervalMs * 2 ** Math.max(0, this.#failures - 1), WAIT_MAX_MS);
    this.#onConnection(this.#failures === 0 ? null : { retryAtMs: Date.now() + waitMs });
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.now(), waitMs);
  }

  #visibilityChanged() {
    if (document.hidden) clearTimeout(this.#timer);
    else this.now();
  }
}
