/**
 * What this page knows of markets: the newest version of each, and which way its prices moved.
 *
 * Invariant: a market never goes back to an older version, in whatever order the answers arrive.
 */

import { platformNowMs } from "./api.js";
import { oddsMilli } from "./money.js";

const MOVE_SHOWN_MS = 8_000;
const STALE_AFTER_MS = 10_000;

export class Prices {
  #markets = new Map();

  /** Keep `market` if no newer version is known. */
  take(market) {
    const known = this.#markets.get(market.market_id);
    if (known && market.odds_version < known.market.odds_version) return;
    const moves = known ? movesBetween(known, market) : new Map();
    this.#markets.set(market.market_id, { market, moves, seenAtMs: Date.now() });
  }

  /** Return the newest version of a market, or null. */
  market(marketId) {
    return this.#markets.get(marketId)?.market ?? null;
  }

  /** Return a selection's `{direction: "up" | "down", from}` where its price moved a moment ago, else null. */
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
    return Date.now() - (known?.seenAtMs ?? 0);
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
      moves.set(id, { direction, from, atMs: Date.now() });
    } else if (known.moves.has(id)) {
      moves.set(id, known.moves.get(id));
    }
  }
  return moves;
}
