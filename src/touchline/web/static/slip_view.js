/**
 * The slip on the page: what is typed and pressed goes to the slip, what the slip says is shown.
 *
 * Invariant: the fields are made once and never rebuilt, so that typing is never lost to a poll.
 */

import { byId, el, say, setText, show } from "./dom.js";
import { oddsMilli, showMinor, showMoney } from "./money.js";

const QUICK_STAKES = ["2", "5", "10", "25"];
const WAITING = {
  suspended: "Betting is suspended. Your slip waits here until prices are back.",
  closed: "This market is closed. Remove this bet and pick another price.",
};

export class SlipView {
  #slip;
  #price = null; // the pressed button on the board

  constructor(slip) {
    this.#slip = slip;
    byId("slip-form").addEventListener("submit", (event) => {
      event.preventDefault();
      slip.place();
    });
    byId("slip-stake").addEventListener("input", (event) => slip.edit({ stake: event.target.value }));
    for (const choice of document.querySelectorAll("#slip input[name=accept]")) {
      choice.addEventListener("change", () => slip.edit({ accept: choice.value }));
    }
    byId("slip-remove").addEventListener("click", () => slip.clear());
    byId("slip-aside").addEventListener("click", () => slip.setAside());
    byId("receipt-done").addEventListener("click", () => this.#leave());
    byId("slip").addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.#leave();
    });
    this.#addQuickStakes();
  }

  /** Remember the price on the board that was pressed; after a pick by keyboard go to the stake. */
  picked(byKeyboard) {
    this.#price = document.activeElement;
    if (byKeyboard) byId("slip-stake").focus();
  }

  render() {
    const shown = this.#slip.shown;
    const open = ["editing", "sending", "unknown"].includes(shown.phase);
    byId("slip").dataset.phase = shown.phase;
    show(byId("slip-form"), open);
    show(byId("slip-empty"), shown.phase === "empty");
    show(byId("slip-receipt"), shown.phase === "placed");
    show(byId("slip-remove"), shown.phase === "editing");
    if (open) this.#renderForm(shown);
    if (shown.phase === "placed") this.#renderReceipt(shown.placed);
  }

  #renderForm(shown) {
    const bound = shown.phase !== "editing";
    setText(byId("slip-selection"), shown.pick.selectionName);
    setText(byId("slip-market"), shown.pick.marketName);
    setText(byId("slip-event"), shown.pick.eventName);
    setText(byId("slip-odds"), shown.odds);
    const moved = shown.was ? (oddsMilli(shown.odds) > oddsMilli(shown.was) ? "up" : "down") : "";
    byId("slip-form").dataset.move = moved;
    setText(byId("slip-was"), shown.was ?? "");
    say(byId("slip-notice"), notice(shown, moved), shown.offered || shown.status !== "active" ? "warn" : "plain");
    show(byId("slip-notice"), byId("slip-notice").textContent !== "");
    setText(byId("slip-currency"), this.#slip.currency === "EUR" ? "€" : this.#slip.currency);
    const stake = byId("slip-stake");
    if (stake.value !== this.#slip.stake) stake.value = this.#slip.stake;
    stake.readOnly = bound;
    for (const field of document.querySelectorAll("#slip-quick button, #slip input[name=accept]"))
      field.disabled = bound;
    const payout = shown.payoutMinor;
    setText(byId("slip-payout"), payout === null ? "–" : showMinor(payout, this.#slip.currency));
    say(byId("slip-says"), shown.says);
    this.#renderButtons(shown);
  }

  #renderButtons(shown) {
    const place = byId("slip-place");
    setText(place, action(shown, this.#slip));
    place.setAttribute("aria-disabled", String(!shown.ready));
    place.dataset.offer = String(shown.offered);
    show(byId("slip-aside"), shown.phase === "unknown");
  }

  #renderReceipt(bet) {
    const text =
      `Bet placed: ${showMoney(bet.stake, bet.currency)} at ${bet.odds}. ` +
      `It returns ${showMoney(bet.potential_payout, bet.currency)} if it wins.`;
    if (byId("receipt-text").textContent === text) return;
    setText(byId("receipt-text"), text);
    byId("receipt-done").focus({ preventScroll: true });
  }

  #addQuickStakes() {
    for (const stake of QUICK_STAKES) {
      const press = () => this.#slip.edit({ stake: `${stake}.00` });
      byId("slip-quick").append(
        el("button", { type: "button", class: "button plain small", text: stake, on: { click: press } }),
      );
    }
  }

  /** Empty the slip and go back to the price it came from. */
  #leave() {
    const price = this.#price;
    this.#slip.clear();
    price?.focus({ preventScroll: true });
  }
}

function notice({ phase, status, offered, was, odds, says }, moved) {
  if (phase === "unknown") {
    return (
      "The platform did not answer, so it is not known whether your bet was placed. " +
      "Try again: it can't be placed twice."
    );
  }
  if (status !== "active") return says ? "" : WAITING[status];
  if (offered) return `The odds went ${moved} from ${was} to ${odds}.`;
  return was ? `The odds went ${moved} from ${was} to ${odds}, as you allow.` : "";
}

function action(shown, slip) {
  if (shown.phase === "sending") return "Placing…";
  if (shown.phase === "unknown") return "Try again";
  if (shown.status === "suspended") return "Suspended: waiting";
  if (shown.status === "closed") return "Closed";
  if (shown.waitS) return `Wait ${shown.waitS} s`;
  if (shown.offered) return `Take ${shown.odds}`;
  const stakeMinor = slip.stakeMinor;
  return stakeMinor === null ? "Place bet" : `Place bet: ${showMinor(stakeMinor, slip.currency)} at ${shown.odds}`;
}
