/**
 * The bettor's page: which view is shown, what is pushed to it, and what one round of polls asks for.
 *
 * Invariant: nothing is polled that can't be seen, but the slip's own market, the open bets and the balance; nor
 * are prices that are pushed.
 */

import { Away, Problem, session } from "./api.js";
import { Money } from "./account.js";
import { Bets } from "./bets.js";
import { Board } from "./board.js";
import { showConnection, showPartly } from "./connection.js";
import { byId, setText, show, toast } from "./dom.js";
import { Freshness } from "./freshness.js";
import { showMoney } from "./money.js";
import { Names } from "./names.js";
import { Polling } from "./polling.js";
import { Prices } from "./prices.js";
import { Protection } from "./protection.js";
import { Gate, signOut } from "./session.js";
import { Slip } from "./slip.js";
import { SlipView } from "./slip_view.js";
import { Stream } from "./stream.js";
import { told } from "./words.js";

const POLL_MS = 3_000;
const BALANCE_ROUNDS = 3; // the balance is asked for every third round, and whenever it must have changed
const EVENTS_ROUNDS = 2; // while prices are pushed only scores, clocks and new matches are still to be asked for
const BETS_ROUNDS = 4; // while news of bets is pushed they are asked for so seldom, lest one went by unheard
const VIEWS = ["live", "bets", "account"];

const freshness = new Freshness(POLL_MS);
const prices = new Prices((lagMs) => freshness.note(lagMs));
const names = new Names();
const slip = new Slip(prices, { changed, placed, refused, setAside: () => bets.reload() });
const slipView = new SlipView(slip);
const stream = new Stream(
  {
    markets: onMarkets,
    stands: (eventIds, since) => prices.stand(eventIds, since),
    bet: (bet) => bets.hear(bet, view === "bets"),
    conflated: () => freshness.crowd(),
    refused: lookAtAll,
    mode: onMode,
  },
  { bets: true },
);
const board = new Board({
  prices,
  names,
  onPick,
  onStatus: lookAtAll,
  isPushed: (eventId) => stream.covers(eventId),
});
const money = new Money((currency) => (slip.currency = currency));
const bets = new Bets(names, () => money.refresh().catch(toTheNextRound));
const protection = new Protection();
const polling = new Polling(round, POLL_MS, (lost) =>
  showConnection(lost, { pricesArePushed: stream.mode === "live" }),
);
const gate = new Gate(enter);

let rounds = 0; // since all was asked for
let view = "live";

async function round() {
  const turn = rounds;
  const isDue = (every) => turn % every === 0;
  rounds += 1;
  const isPushed = stream.mode === "live";
  await board.refresh({ listed: view === "live" && (!isPushed || isDue(EVENTS_ROUNDS)) });
  stream.follow(board.eventIds);
  slip.follow();
  try {
    if (!isPushed || isDue(BETS_ROUNDS)) await bets.watch(view === "bets");
    if (isDue(BALANCE_ROUNDS)) await money.refresh();
    showPartly(false);
  } catch (error) {
    if (!(error instanceof Away)) throw error;
    rounds = 0; // the next one asks for all of it
    showPartly(true);
  }
}

/** Ask at once for all that a round may ask for. */
function lookAtAll() {
  rounds = 0;
  polling.now();
}

function onMarkets(markets) {
  board.take(markets);
  if (markets.some((market) => market.market_id === slip.pick?.marketId)) slip.follow();
}

function onMode(mode) {
  freshness.turn(mode);
  lookAtAll(); // a stream tells nothing of the bets that were decided without it
}

function onPick(marketId, selectionId, byKeyboard) {
  const event = board.eventOf(marketId);
  const market = prices.market(marketId);
  const selection = market.selections.find((candidate) => candidate.selection_id === selectionId);
  slip.choose({
    marketId,
    selectionId,
    marketName: market.name,
    selectionName: selection.name,
    eventName: event?.name ?? "",
  });
  slipView.picked(byKeyboard && slip.pick !== null);
}

function changed() {
  slipView.render();
  board.mark(slip.pick);
}

function placed(bet, pick) {
  toast(`Bet placed: ${showMoney(bet.stake, bet.currency)} at ${bet.odds} on ${pick.selectionName}.`, "good");
  lookAtAll();
  money.refresh().catch(toTheNextRound);
}

function refused(code) {
  if (code === "ODDS_CHANGED" || code.startsWith("MARKET_") || code.startsWith("SELECTION_")) lookAtAll();
  if (code === "SELF_EXCLUDED") protection.refresh({ fill: false }).catch(toTheNextRound);
}

function toTheNextRound(error) {
  // The next round of polls asks again, and says so where it gets no answer.
  if (!(error instanceof Away || error instanceof Problem)) throw error;
}

async function enter() {
  const { role, username } = session.read();
  if (role === "trader") {
    location.assign("/desk");
    return;
  }
  if (role !== "player") {
    session.end("This account can't bet. Sign in with a player's.");
    return;
  }
  setText(byId("username"), username);
  rounds = 0;
  stream.start();
  show(byId("view-sign-in"), false);
  show(byId("nav"), true);
  show(byId("who"), true);
  showView();
  polling.start();
  await protection.refresh({ fill: true }).catch(toTheNextRound);
}

function leave(reason) {
  polling.stop();
  stream.stop();
  showPartly(false);
  bets.forget();
  slip.clear();
  for (const name of VIEWS) show(byId(`view-${name}`), false);
  for (const id of ["nav", "who", "slip", "exclusion"]) show(byId(id), false);
  show(byId("view-sign-in"), true);
  gate.open(reason);
}

function showView() {
  if (session.read() === null) return;
  const asked = location.hash.slice(1);
  view = VIEWS.includes(asked) ? asked : "live";
  for (const name of VIEWS) show(byId(`view-${name}`), name === view);
  show(byId("slip"), view === "live");
  document.body.dataset.view = view;
  for (const link of document.querySelectorAll("#nav a")) {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (view === "bets") bets.reload();
  if (view === "account") {
    told(() => Promise.all([money.refresh(), money.reload(), protection.refresh({ fill: true })]));
  }
  lookAtAll();
}

window.addEventListener("session-ended", (event) => leave(event.detail));
window.addEventListener("hashchange", showView);
byId("sign-out").addEventListener("click", signOut);
byId("retry-now").addEventListener("click", lookAtAll);

if (session.read() === null) leave("");
else enter();
