/**
 * The bettor's page: which view is shown, and what one round of polls asks for.
 *
 * Invariant: nothing is polled that can't be seen, but the slip's own market, the open bets and the balance.
 */

import { Away, Problem, session } from "./api.js";
import { Money } from "./account.js";
import { Bets } from "./bets.js";
import { Board } from "./board.js";
import { showConnection } from "./connection.js";
import { byId, setText, show, toast } from "./dom.js";
import { showMoney } from "./money.js";
import { Names } from "./names.js";
import { Polling } from "./polling.js";
import { Prices } from "./prices.js";
import { Protection } from "./protection.js";
import { Gate, signOut } from "./session.js";
import { Slip } from "./slip.js";
import { SlipView } from "./slip_view.js";
import { told } from "./words.js";

const POLL_MS = 3_000;
const BALANCE_ROUNDS = 3; // the balance is asked for every third round, and whenever it must have changed
const VIEWS = ["live", "bets", "account"];

const prices = new Prices();
const names = new Names();
const slip = new Slip(prices, { changed, placed, refused, setAside: () => bets.reload() });
const slipView = new SlipView(slip);
const board = new Board({ prices, names, onPick, onStatus: () => polling.now() });
const money = new Money((currency) => (slip.currency = currency));
const bets = new Bets(names, () => money.refresh().catch(toTheNextRound));
const protection = new Protection();
const polling = new Polling(round, POLL_MS, showConnection);
const gate = new Gate(enter);

let rounds = 0;
let view = "live";

async function round() {
  rounds += 1;
  await board.refresh({ listed: view === "live" });
  slip.follow();
  await bets.watch(view === "bets");
  if (rounds % BALANCE_ROUNDS === 1) await money.refresh();
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
  polling.now();
  money.refresh().catch(toTheNextRound);
}

function refused(code) {
  if (code === "ODDS_CHANGED" || code.startsWith("MARKET_") || code.startsWith("SELECTION_")) polling.now();
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
  show(byId("view-sign-in"), false);
  show(byId("nav"), true);
  show(byId("who"), true);
  showView();
  polling.start();
  await protection.refresh({ fill: true }).catch(toTheNextRound);
}

function leave(reason) {
  polling.stop();
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
  polling.now();
}

window.addEventListener("session-ended", (event) => leave(event.detail));
window.addEventListener("hashchange", showView);
byId("sign-out").addEventListener("click", signOut);
byId("retry-now").addEventListener("click", () => polling.now());

if (session.read() === null) leave("");
else enter();
