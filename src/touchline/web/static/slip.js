/**
 * The bet slip: one pick, the price the bettor agreed to, and what became of placing it.
 *
 * Invariant: a bet is sent only at a price the bettor saw and agreed to (or that his choice of `accept` covers),
 * and while the outcome of a request is unknown nothing but that same request with its same key is sent.
 */

import { Away, post } from "./api.js";
import { Attempt } from "./attempt.js";
import { isBackable } from "./market.js";
import { minorToText, oddsMilli, parseTypedMinor, payoutMinor } from "./money.js";
import { inWords, waitS } from "./words.js";

const SENDS_MAX = 3; // of one request whose outcome is unknown, before the bettor is asked
const SAME_PRICE_SENDS_MAX = 3; // at a version that moved on while the price stayed
const OFFER_HOLD_MS = 500; // a price that appears under the finger is not taken by a press meant for another

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class Slip {
  #prices;
  #hear;
  #attempt = new Attempt();
  #pick = null;
  #phase = "empty"; // empty, editing, sending, unknown, placed
  #agreed = null; // {odds, version}
  #was = null; // the odds before the bettor's choice of `accept` followed a move
  #offer = null; // {odds, version} waiting for the bettor's yes
  #offeredAtMs = 0;
  #waitUntilMs = 0;
  #waited = false; // the market was suspended at the last look
  #says = "";
  #placed = null;

  /**
   * `hear.changed()` is called after any change, `hear.placed(bet, pick)`, `hear.refused(code)` and
   * `hear.setAside()` as they happen.
   */
  constructor(prices, hear) {
    this.#prices = prices;
    this.#hear = hear;
    this.stake = "";
    this.accept = "none";
    this.currency = "EUR";
  }

  /** What is on the slip: `{marketId, selectionId}`, or null. */
  get pick() {
    return this.#pick;
  }

  /** All that a view shows. */
  get shown() {
    const price = this.#offer ?? this.#agreed;
    const stakeMinor = this.stakeMinor;
    return {
      phase: this.#phase,
      pick: this.#pick,
      odds: price?.odds,
      was: this.#offer ? this.#agreed.odds : this.#was,
      offered: this.#offer !== null,
      status: this.#status(),
      payoutMinor: stakeMinor === null || !price ? null : payoutMinor(stakeMinor, oddsMilli(price.odds)),
      waitS: Math.max(0, Math.ceil((this.#waitUntilMs - Date.now()) / 1000)),
      ready: this.#isReady(),
      says: this.#says,
      placed: this.#placed,
    };
  }

  get stakeMinor() {
    return parseTypedMinor(this.stake, this.currency);
  }

  /** Put a price on the slip, or take it off where it is there already. Nothing while a request is under way. */
  choose(pick) {
    if (this.#isBound()) return;
    if (
      this.#phase === "editing" &&
      this.#pick.marketId === pick.marketId &&
      this.#pick.selectionId === pick.selectionId
    ) {
      this.clear();
      return;
    }
    const { market, selection } = this.#found(pick);
    this.#pick = pick;
    this.#phase = "editing";
    this.#agreed = { odds: selection.odds, version: market.odds_version };
    this.#was = this.#offer = this.#placed = null;
    this.#says = "";
    this.#hear.changed();
  }

  /** Empty the slip. Nothing while a request is under way. */
  clear() {
    if (this.#isBound()) return;
    this.#empty();
  }

  /** Give up on a request whose outcome is unknown: the bets on record tell. */
  setAside() {
    if (this.#phase !== "unknown") return;
    this.#attempt.answered();
    this.#empty();
    this.#hear.setAside();
  }

  /** Take a change of stake or choice. */
  edit({ stake = this.stake, accept = this.accept }) {
    if (this.#isBound()) return;
    this.stake = stake;
    this.accept = accept;
    this.#says = "";
    this.follow();
  }

  /** Follow the newest prices. */
  follow() {
    if (this.#phase === "editing") {
      const { market, selection } = this.#found(this.#pick);
      const open = this.#status() === "active";
      if (open) this.#meet({ odds: selection.odds, version: market.odds_version });
      if (open && this.#waited) this.#says = "";
      this.#waited = !open;
    }
    this.#hear.changed();
  }

  /** Place the bet; a standing re-offer is taken with it. */
  async place() {
    if (!this.shown.ready) return;
    if (this.stakeMinor === null) {
      this.#refuse("Enter a stake first, such as 5.00.");
      return;
    }
    if (this.#offer) this.#agree(this.#offer, null);
    for (let sends = 0; sends < SAME_PRICE_SENDS_MAX; sends += 1) {
      this.#says = "";
      this.#turn("sending");
      const problem = await this.#send(this.#request());
      if (problem === null) return;
      const samePrice = problem.code === "ODDS_CHANGED" && problem.extra.current_odds === this.#agreed.odds;
      if (!samePrice) {
        this.#answered(problem);
        return;
      }
      this.#agree({ odds: problem.extra.current_odds, version: problem.extra.current_odds_version }, null);
    }
    this.#turn("editing");
    this.#refuse("Prices are moving very fast and your bet was not placed. Try again.");
  }

  /** Send `request`, again with the same key while its outcome is unknown; returns the refusal, or null. */
  async #send(request) {
    for (let sends = 1; ; sends += 1) {
      try {
        this.#accepted(await post("/bets", this.#attempt.keyed(request)));
        return null;
      } catch (error) {
        if (!(error instanceof Away)) {
          this.#attempt.answered();
          return error;
        }
        if (sends === SENDS_MAX) {
          this.#turn("unknown");
          return null;
        }
        await wait((error.retryAfterS ?? sends) * 1000);
      }
    }
  }

  #request() {
    return {
      market_id: this.#pick.marketId,
      selection_id: this.#pick.selectionId,
      odds: this.#agreed.odds,
      odds_version: this.#agreed.version,
      stake: minorToText(this.stakeMinor, this.currency),
      accept: this.accept,
    };
  }

  #accepted(bet) {
    this.#attempt.answered();
    this.#placed = bet;
    this.stake = "";
    this.#turn("placed");
    this.#hear.placed(bet, this.#pick);
    this.#pick = null;
    this.#hear.changed();
  }

  #answered(problem) {
    this.#phase = "editing";
    if (problem.code === "ODDS_CHANGED") {
      this.#put({ odds: problem.extra.current_odds, version: problem.extra.current_odds_version });
      this.#says = "Your bet was not placed.";
    } else if (problem.code === "RATE_LIMITED") {
      this.#says = "Your bet was not placed: that was too many bets in a minute.";
      this.#waitUntilMs = Date.now() + waitS(problem) * 1000;
      this.#countDown();
    } else {
      this.#says = inWords(problem, this.currency);
    }
    this.#hear.changed();
    this.#hear.refused(problem.code);
  }

  #countDown() {
    if (Date.now() < this.#waitUntilMs) setTimeout(() => this.#countDown(), 1_000);
    else this.#says = "";
    this.#hear.changed();
  }

  /** Meet a price that stands now. */
  #meet(price) {
    if (price.version < Math.max(this.#agreed.version, this.#offer?.version ?? 0)) return;
    if (price.odds === this.#agreed.odds) {
      this.#agreed = price;
      this.#offer = null;
      return;
    }
    const better = oddsMilli(price.odds) > oddsMilli(this.#agreed.odds);
    if (this.accept === "any" || (this.accept === "better" && better)) this.#agree(price, this.#agreed.odds);
    else this.#put(price);
  }

  #put(offer) {
    if (this.#offer?.odds !== offer.odds) {
      this.#offeredAtMs = Date.now();
      setTimeout(() => this.#hear.changed(), OFFER_HOLD_MS + 50);
    }
    this.#offer = offer;
  }

  #agree(price, was) {
    this.#agreed = price;
    this.#was = was;
    this.#offer = null;
  }

  #isReady() {
    const now = Date.now();
    if (this.#phase === "unknown") return true;
    const held = now - this.#offeredAtMs < OFFER_HOLD_MS || now < this.#waitUntilMs;
    return this.#phase === "editing" && !held && this.#status() === "active";
  }

  #status() {
    if (this.#pick === null) return "active";
    const { market, selection } = this.#found(this.#pick);
    if (!market || !selection) return "closed";
    if (isBackable(market, selection)) return "active";
    return market.status === "active" || market.status === "suspended" ? "suspended" : "closed";
  }

  #found({ marketId, selectionId }) {
    const market = this.#prices.market(marketId);
    const selection = market?.selections.find((candidate) => candidate.selection_id === selectionId);
    return { market, selection };
  }

  #isBound() {
    return this.#phase === "sending" || this.#phase === "unknown";
  }

  #refuse(words) {
    this.#says = words;
    this.#hear.changed();
  }

  #turn(phase) {
    this.#phase = phase;
    this.#hear.changed();
  }

  #empty() {
    this.#phase = "empty";
    this.#pick = this.#agreed = this.#offer = this.#was = this.#placed = null;
    this.#says = "";
    this.#hear.changed();
  }
}
