/**
 * The names behind the ids that bets carry.
 *
 * Invariant: at most `EVENTS_KEPT_MAX` events are kept; the oldest known goes first.
 */

import { Away, get } from "./api.js";

const EVENTS_KEPT_MAX = 300;

export class Names {
  #events = new Map();
  #asked = new Map(); // event id to the answer under way, so that a page of bets asks once an event

  /** Learn an event's names as it comes with its markets. */
  learn(event) {
    this.#events.delete(event.event_id);
    this.#events.set(event.event_id, event);
    if (this.#events.size > EVENTS_KEPT_MAX) this.#events.delete(this.#events.keys().next().value);
  }

  /** Return `{event, market, selection}`, names where they can be had, ids where not. */
  async of({ event_id: eventId, market_id: marketId, selection_id: selectionId }) {
    const event = this.#find(eventId, marketId) ?? (await this.#ask(eventId));
    const market = event?.markets.find((candidate) => candidate.market_id === marketId);
    const selection = market?.selections.find((candidate) => candidate.selection_id === selectionId);
    return {
      event: event?.name ?? eventId,
      market: market?.name ?? marketId,
      selection: selection?.name ?? selectionId,
    };
  }

  #find(eventId, marketId) {
    const event = this.#events.get(eventId);
    return event?.markets.some((market) => market.market_id === marketId) ? event : undefined;
  }

  #ask(eventId) {
    let answer = this.#asked.get(eventId);
    if (answer === undefined) {
      answer = this.#fetch(eventId).finally(() => this.#asked.delete(eventId));
      this.#asked.set(eventId, answer);
    }
    return answer;
  }

  async #fetch(eventId) {
    try {
      const event = await get(`/events/${encodeURIComponent(eventId)}`);
      this.learn(event);
      return event;
    } catch (error) {
      if (error instanceof Away || error.code === "NOT_FOUND") return undefined; // the ids must do for now
      throw error;
    }
  }
}
