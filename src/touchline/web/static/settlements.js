/**
 * How far settlements are: asked for once a decided market, and every second while one is not finished.
 *
 * Invariant: at most `LOOKED_AT_MAX` markets are asked for a round, so that a long list costs no burst.
 */

import { Away, get } from "./api.js";

const WATCH_MS = 1_000;
const LOOKED_AT_MAX = 12;
const DECIDED = new Set(["settled", "void"]);

export class Settlements {
  #newest = new Map(); // market id to its newest settlement, null where it has none
  #versions = new Map(); // market id to the version of the market it was asked at
  #watched = new Set();
  #timer = null;
  #onChange;

  /** `onChange()` hears of progress. */
  constructor(onChange) {
    this.#onChange = onChange;
  }

  /** Return a market's newest settlement as far as known, or null. */
  of(marketId) {
    return this.#newest.get(marketId) ?? null;
  }

  /** Ask for decided markets that have changed since they were asked for, the latest first. */
  async look(markets) {
    const due = markets
      .filter(
        (market) => DECIDED.has(market.status) && this.#versions.get(market.market_id) !== market.odds_version,
      )
      .sort((one, other) => other.updated_at.localeCompare(one.updated_at))
      .slice(0, LOOKED_AT_MAX);
    for (const market of due) this.#versions.set(market.market_id, market.odds_version);
    await Promise.all(due.map((market) => this.#ask(market.market_id)));
  }

  /** Follow a market's settlement until it is finished. */
  watch(marketId) {
    this.#watched.add(marketId);
    this.#schedule();
  }

  async #ask(marketId) {
    const { settlements } = await get(`/trading/markets/${encodeURIComponent(marketId)}/settlement`);
    const newest = settlements[0] ?? null;
    this.#newest.set(marketId, newest);
    if (newest !== null && newest.finished_at === null) this.watch(marketId);
    else this.#watched.delete(marketId);
  }

  #schedule() {
    if (this.#timer === null && this.#watched.size > 0) this.#timer = setTimeout(() => this.#again(), WATCH_MS);
  }

  async #again() {
    try {
      await Promise.all([...this.#watched].slice(0, LOOKED_AT_MAX).map((id) => this.#ask(id)));
    } catch (error) {
      if (!(error instanceof Away)) throw error; // the page's polling says so; this asks again
    }
    this.#timer = null;
    this.#onChange();
    this.#schedule();
  }
}
