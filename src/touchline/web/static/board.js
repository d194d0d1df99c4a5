/**
 * The live board: the events, and their markets as they are pushed, or by `GET /odds/{market_id}` each round.
 *
 * Invariant: only markets on the screen and the slip's own are polled, at most `POLLED_MAX` a round, and none that
 * are pushed.
 */

import { get } from "./api.js";
import { arrange, byId, setText, show } from "./dom.js";
import { MatchView } from "./match.js";

const POLLED_MAX = 60;
const GONE = new Set(["MARKET_NOT_FOUND"]);
const WIDE = matchMedia("(min-width: 961px)");
const TITLES = { live: "Live now", scheduled: "Upcoming" };
const NOTHING = {
  live: "No match is live just now. The next one appears here by itself.",
  scheduled: "No match is announced. Look at those that are live.",
};

export class Board {
  #prices;
  #names;
  #onPick;
  #isPushed;
  #views = new Map();
  #visible = new Set();
  #events = [];
  #loaded = false;
  #status = "live";
  #pick = null;
  #watch;

  /** `isPushed(eventId)` tells whether the changes of an event's markets come by `take`. */
  constructor({ prices, names, onPick, onStatus, isPushed }) {
    this.#prices = prices;
    this.#names = names;
    this.#onPick = onPick;
    this.#isPushed = isPushed;
    this.#watch = new IntersectionObserver((entries) => this.#seen(entries));
    for (const button of document.querySelectorAll("#view-live .segments button")) {
      button.addEventListener("click", () => {
        this.#choose(button.dataset.status);
        onStatus();
      });
    }
    setInterval(() => this.#tick(), 1_000);
  }

  /** Do one round of polls. Throws `Away` where one did not get through. */
  async refresh({ listed }) {
    if (listed) await this.#refreshEvents();
    const seen = new Set(listed ? this.#visible : []);
    if (this.#pick) seen.add(this.#pick.marketId);
    const polled = [...seen].filter((id) => !this.#isPushed(this.#prices.market(id)?.event_id));
    await Promise.all(polled.slice(0, POLLED_MAX).map((id) => this.#poll(id)));
    this.#render();
  }

  /** Take markets that are pushed, and show them at once. */
  take(markets) {
    const changed = new Set();
    for (const market of markets) {
      this.#prices.take(market);
      const event = this.#events.find((candidate) => candidate.event_id === market.event_id);
      if (event === undefined) continue;
      const place = event.markets.findIndex((candidate) => candidate.market_id === market.market_id);
      event.markets[place === -1 ? event.markets.length : place] = this.#prices.market(market.market_id);
      changed.add(event);
    }
    for (const event of changed) this.#views.get(event.event_id)?.update(event, this.#pick);
  }

  /** The ids of all events whose prices somebody may want to see: those listed, and the slip's own. */
  get eventIds() {
    const ids = this.#events.map((event) => event.event_id);
    const picked = this.#pick && this.#prices.market(this.#pick.marketId)?.event_id;
    return picked ? [picked, ...ids] : ids;
  }

  /** Mark what is on the slip: `{marketId, selectionId}`, or null. */
  mark(pick) {
    if (pick === this.#pick) return;
    this.#pick = pick;
    this.#render();
  }

  /** Return the event of a market on the board, or null. */
  eventOf(marketId) {
    return this.#events.find((event) => event.markets.some((market) => market.market_id === marketId)) ?? null;
  }

  async #refreshEvents() {
    const status = this.#status;
    const { events } = await get(`/events?status=${status}`);
    if (status !== this.#status) return;
    this.#events = events;
    this.#loaded = true;
    const known = new Set(this.#pick ? [this.#pick.marketId] : []);
    for (const event of events) {
      this.#names.learn(event);
      for (const market of event.markets) {
        this.#prices.take(market);
        known.add(market.market_id);
      }
      event.markets = event.markets.map((market) => this.#prices.market(market.market_id));
    }
    this.#prices.keepOnly(known);
    this.#render();
  }

  async #poll(marketId) {
    try {
      this.#prices.take(await get(`/odds/${encodeURIComponent(marketId)}`));
    } catch (error) {
      if (!GONE.has(error.code)) throw error;
    }
  }

  #render() {
    const ids = new Set(this.#events.map((event) => event.event_id));
    for (const [id, view] of this.#views) if (!ids.has(id)) this.#drop(id, view);
    arrange(
      byId("matches"),
      this.#events.map((event, place) => this.#view(event, place).element),
    );
    show(byId("no-matches"), this.#events.length === 0);
    setText(byId("no-matches"), this.#loaded ? NOTHING[this.#status] : "Loading…");
  }

  #drop(eventId, view) {
    for (const element of view.marketElements()) {
      this.#watch.unobserve(element);
      this.#visible.delete(element.dataset.market);
    }
    this.#views.delete(eventId);
  }

  #view(event, place) {
    let view = this.#views.get(event.event_id);
    if (view === undefined) {
      view = new MatchView(event, {
        prices: this.#prices,
        onPick: this.#onPick,
        onMarketShown: (element) => this.#watch.observe(element),
        expanded: WIDE.matches && place === 0 && this.#views.size === 0,
      });
      this.#views.set(event.event_id, view);
    }
    view.update(event, this.#pick);
    return view;
  }

  #choose(status) {
    this.#status = status;
    this.#events = [];
    this.#loaded = false;
    setText(byId("live-title"), TITLES[status]);
    for (const button of document.querySelectorAll("#view-live .segments button")) {
      button.setAttribute("aria-pressed", String(button.dataset.status === status));
    }
    this.#render();
  }

  #seen(entries) {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) this.#visible.add(target.dataset.market);
      else this.#visible.delete(target.dataset.market);
    }
  }

  #tick() {
    if (!document.hidden) for (const view of this.#views.values()) view.tick();
  }
}
