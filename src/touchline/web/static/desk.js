/**
 * The trader's desk: every market with what can be done to it, and what the book stands to lose.
 *
 * Invariant: the desk shows the platform's state and asks for steps; it never assumes that a step was taken.
 */

import { get, session } from "./api.js";
import { showConnection } from "./connection.js";
import { DeskEvent } from "./desk_event.js";
import { arrange, byId, el, setText, show } from "./dom.js";
import { Freshness } from "./freshness.js";
import { Liability } from "./liability.js";
import { Polling } from "./polling.js";
import { Prices } from "./prices.js";
import { Gate, signOut } from "./session.js";
import { Settlements } from "./settlements.js";
import { Stream } from "./stream.js";

const POLL_MS = 3_000;
const RENDER_MS = 100; // what is pushed within so long is shown together
const EVENTS_SHOWN_MAX = 40;
const STATUSES = ["all", "active", "suspended", "closed", "settled", "void"];
const EVENT_RANK = { live: 0, scheduled: 1, ended: 2 };

const liability = new Liability();
const settlements = new Settlements(() => polling.now());
const polling = new Polling(round, POLL_MS, (lost) =>
  showConnection(lost, { pricesArePushed: stream.mode === "live" }),
);
const freshness = new Freshness(POLL_MS);
const prices = new Prices((lagMs) => freshness.note(lagMs));
const stream = new Stream({
  markets: onMarkets,
  stands: (eventIds, since) => prices.stand(eventIds, since),
  bet: () => {}, // a trader has none
  conflated: () => freshness.crowd(),
  refused: () => polling.now(),
  mode: (mode) => freshness.turn(mode),
});
const gate = new Gate(enter);
const views = new Map();

let events = [];
let status = "all";
let rendering = null; // the timer of a render that is due

async function round() {
  const [answer] = await Promise.all([get("/events"), liability.refresh()]);
  events = answer.events.sort(byInterest);
  const markets = events.flatMap((event) => event.markets);
  for (const market of markets) prices.take(market);
  prices.keepOnly(new Set(markets.map((market) => market.market_id)));
  takeNewest();
  stream.follow(events.filter((event) => event.status !== "ended").map((event) => event.event_id));
  await settlements.look(events.flatMap((event) => event.markets));
  render();
}

/** Have each market at its newest version, whichever way that came. */
function takeNewest() {
  for (const event of events) {
    event.markets = event.markets.map((market) => prices.market(market.market_id) ?? market);
  }
}

function onMarkets(markets) {
  for (const market of markets) prices.take(market);
  rendering ??= setTimeout(() => {
    rendering = null;
    takeNewest();
    render();
  }, RENDER_MS);
}

function byInterest(one, other) {
  const ranks = EVENT_RANK[one.status] - EVENT_RANK[other.status];
  if (ranks !== 0 || one.status !== "ended") return ranks;
  return lastChange(other) - lastChange(one);
}

function lastChange(event) {
  return Math.max(0, ...event.markets.map((market) => Date.parse(market.updated_at)));
}

function render() {
  renderFilter();
  const asked = byId("search").value.trim().toLowerCase();
  const wanted = events
    .map((event) => ({ event, markets: event.markets.filter((market) => isWanted(event, market, asked)) }))
    .filter(({ markets }) => markets.length > 0);
  const shown = wanted.slice(0, EVENTS_SHOWN_MAX);
  const ids = new Set(shown.map(({ event }) => event.event_id));
  for (const id of views.keys()) if (!ids.has(id)) views.delete(id);
  arrange(
    byId("events"),
    shown.map(({ event, markets }) => view(event, markets).element),
  );
  const more = wanted.length - shown.length;
  show(byId("no-events"), wanted.length === 0 || more > 0);
  liability.render(new Map(events.map((event) => [event.event_id, event.name])));
  setText(
    byId("no-events"),
    more > 0 ? `${more} more events: search or filter to see them.` : "No market like this just now.",
  );
}

function isWanted(event, market, asked) {
  if (status !== "all" && market.status !== status) return false;
  return asked === "" || `${event.name} ${event.competition} ${market.name}`.toLowerCase().includes(asked);
}

function view(event, markets) {
  let known = views.get(event.event_id);
  if (known === undefined) {
    known = new DeskEvent({ settlements, onStep: () => polling.now() });
    views.set(event.event_id, known);
  }
  known.update(event, markets);
  return known;
}

function renderFilter() {
  const counts = new Map();
  for (const event of events) {
    for (const market of event.markets) counts.set(market.status, (counts.get(market.status) ?? 0) + 1);
  }
  const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
  for (const button of byId("filter").children) {
    const of = button.dataset.status;
    button.setAttribute("aria-pressed", String(of === status));
    setText(button.lastElementChild, String(of === "all" ? total : (counts.get(of) ?? 0)));
  }
}

function addFilter() {
  for (const of of STATUSES) {
    const choose = () => {
      status = of;
      render();
    };
    const word = of.charAt(0).toUpperCase() + of.slice(1);
    byId("filter").append(
      el(
        "button",
        { type: "button", dataset: { status: of }, on: { click: choose } },
        `${word} `,
        el("span", { class: "count", text: "0" }),
      ),
    );
  }
}

function enter() {
  const { role, username } = session.read();
  if (role !== "trader") {
    session.end("This account is no trader's. Sign in with one that is, or go to the live page to bet.");
    return;
  }
  setText(byId("username"), username);
  show(byId("view-sign-in"), false);
  for (const id of ["view-desk", "figures", "who"]) show(byId(id), true);
  stream.start();
  polling.start();
}

function leave(reason) {
  polling.stop();
  stream.stop();
  for (const id of ["view-desk", "figures", "who"]) show(byId(id), false);
  show(byId("view-sign-in"), true);
  gate.open(reason);
}

window.addEventListener("session-ended", (event) => leave(event.detail));
byId("sign-out").addEventListener("click", signOut);
byId("retry-now").addEventListener("click", () => polling.now());
byId("search").addEventListener("input", render);
addFilter();

if (session.read()?.role === "trader") enter();
else leave("");
