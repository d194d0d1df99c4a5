/**
 * What this page knows of markets: the newest version of each, and which way its prices moved.
 *
 * Invariant: a market never goes back to an older version, in whatever order the answers arrive.
 */

import { noteInstant, platformNowMs } from "./clock.js";
import { oddsMilli } from "./money.js";

const MOVE_SHOWN_MS = 8_000;
const STALE_AFTER_MS = 10_000;

export class Prices {
  #markets = new Map();
  #standing = { eventIds: new Set(), heardAtMs: 0, stoodAtMs: 0 }; // what a stream told of the markets it covers
  #onLag;

  /** `onLag(lagMs)` hears how old each change was when it arrived, where the market was followed before. */
  constructor(onLag = () => {}) {
    this.#onLag = onLag;
  }

  /** Keep `market` if no newer version is known. */
  take(market) {
    noteInstant(market.updated_at);
    const known = this.#markets.get(market.market_id);
    if (known && market.odds_version < known.market.odds_version) return;
    const isNews = known && market.odds_version > known.market.odds_version && !this.isStale(market.market_id);
    if (isNews) this.#onLag(platformNowMs() - Date.parse(market.updated_at));
    const moves = known ? movesBetween(known, market) : new Map();
    this.#markets.set(market.market_id, { market, moves, seenAtMs: Date.now() });
  }

  /** Learn that of these events' markets the newest versions known are those that stand, or stood at `since`. */
  stand(eventIds, since) {
    const ageMs = since === undefined ? 0 : platformNowMs() - Date.parse(since);
    this.#standing = { eventIds, heardAtMs: Date.now(), stoodAtMs: Date.now() - ageMs };
  }

  /** Return the newest version of a market, or null. */
  market(marketId) {
    return this.#markets.get(marketId)?.market ?? null;
  }

  /**
   * Return a selection's `{direction: "up" | "down", from, beat}` where its price moved a moment ago, else null.
   * `beat` is "odd" and "even" in turn, so that a move is told from the one before it.
   */
  move(marketId, selectionId) {
    const move = this.#markets.get(marketId)?.moves.get(selectionId);
    return move && Date.now() - move.atMs < MOVE_SHOWN_MS ? move : null;
  }

  /** Tell whether a market's prices are doubtful: not heard of for long, or old by the platform's own word. */
  isStale(marketId) {
    return this.market(marketId)?.stale_since !== undefined || this.ageMs(marketId) > STALE_AFTER_MS;
  }

  /** Milliseconds since a market was last known to stand. */
  ageMs(marketId) {
    const known = this.#markets.get(marketId);
    if (known?.market.stale_since) return platformNowMs() - Date.parse(known.market.stale_since);
    const { eventIds, heardAtMs, stoodAtMs } = this.#standing;
    const seenAtMs = known?.seenAtMs ?? 0;
    const isNewer = heardAtMs >= seenAtMs && eventIds.has(known?.market.event_id);
    return Date.now() - (isNewer ? stoodAtMs : seenAtMs);
  }

  /** Forget every market but those of `marketIds`. */
  keepOnly(marketIds) {
    for (const known of this.#markets.keys()) if (!marketIds.has(known)) this.#markets.delete(known);
  }
}

function movesBetween(known, market) {
  const before = new Map(known.market.selections.map((selection) => [selection.selection_id, selection.odds]));
  const moves = new Map();
  for (const { selection_id: id, odds } of market.selections) {
    const from = before.get(id);
    if (from && odds && from !== odds) {
      const direction = oddsMilli(odds) > oddsMilli(from) ? "up" : "down";
      const beat = known.moves.get(id)?.beat === "odd" ? "even" : "odd";
      moves.set(id, { direction, from, beat, atMs: Date.now() });
    } else if (known.moves.has(id)) {
      moves.set(id, known.moves.get(id));
    }
  }
  return moves;
}
