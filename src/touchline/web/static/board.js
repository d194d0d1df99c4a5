/**
 * The live board: the events, and `GET /odds/{market_id}` for every market that can be seen, each round.
 *
 * Invariant: only markets on the screen and the slip's own are polled, at most `POLLED_MAX` a round.
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
  #views = new Map();
  #visible = new Set();
  #events = [];
  #loaded = false;
  #status = "live";
  #pick = null;
  #watch;

  constructor({ prices, names, onPick, onStatus }) {
    this.#prices = prices;
    this.#names = names;
    this.#onPick = onPick;
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
    const wanted = new Set(listed ? this.#visible : []);
    if (this.#pick) wanted.add(this.#pick.marketId);
    await Promise.all([...wanted].slice(0, POLLED_MAX).map((id) => this.#poll(id)));
    this.#render();
  }

  /** Mark what is on the slip: `{marketId, selectionId}`, or null. */
  mark(pick) {
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
