/**
 * What the platform says, in plain words, each with what to do next.
 *
 * Invariant: every code of a refusal has its sentence here, or falls back to the platform's own detail.
 */

import { Away, Problem } from "./api.js";
import { toast } from "./dom.js";
import { showMoney } from "./money.js";

const SENTENCES = {
  UNAUTHENTICATED: () => "You are not signed in any more. Please sign in again.",
  FORBIDDEN: () => "Your account is not allowed to do this. Sign in with another account.",
  RATE_LIMITED: (problem) => `That was too many in a short time. Wait ${waitS(problem)} s, then try again.`,
  IDEMPOTENCY_CONFLICT: () => "This request was mixed up with another one. Please try again.",
  SELF_EXCLUDED: (problem) =>
    `You have excluded yourself from betting${until(problem)}. ` +
    "No bet can be placed until then; you can still withdraw.",
  ACCOUNT_LOCKED: (problem) =>
    `This account is locked${until(problem)}, after too many wrong passwords. Try again then.`,
  JURISDICTION_REFUSED: () => "Betting is not offered where you are.",
  MARKET_NOT_FOUND: () => "This market is not offered any more. Pick another one.",
  SELECTION_NOT_FOUND: () => "This selection is not offered any more. Pick another one.",
  MARKET_CLOSED: () => "This market is closed. Pick another one.",
  MARKET_SUSPENDED: () =>
    "Betting on this market is suspended. Your bet was not placed; it waits here for prices to come back.",
  BET_EXPIRED: () => "The bet took too long to arrive and was not placed. Try again.",
  STAKE_OUT_OF_RANGE: (problem, currency) =>
    `Stakes here go from ${showMoney(problem.extra.min, currency)} to ` +
    `${showMoney(problem.extra.max, currency)}. Change the stake.`,
  LIMIT_EXCEEDED: ({ extra }, currency) =>
    `That is more than your own ${extra.limit} limit of the ${extra.period} allows: ` +
    `${showMoney(extra.left, currency)} is left. Lower the amount.`,
  EXPOSURE_EXCEEDED: () => "The book takes no bet of this size here just now. Try a smaller stake.",
  INSUFFICIENT_BALANCE: () => "Your balance does not cover this. Lower the amount, or make a deposit.",
  NOT_FOUND: () => "This is not there any more. Refresh the page.",
};

/** Return what to tell a person about `error` of a request. */
export function inWords(error, currency = "EUR") {
  if (error instanceof Away) return "The platform can't be reached just now. Try again in a moment.";
  const sentence = SENTENCES[error.code];
  if (sentence === undefined) return sentenceCase(error.detail);
  try {
    return sentence(error, currency);
  } catch {
    return sentenceCase(error.detail); // the document lacks what the sentence needs
  }
}

/** Do `work`; where the platform refuses or can't be reached, say so and what to do next. */
export async function told(work) {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Away || error instanceof Problem)) throw error;
    toast(inWords(error), "bad");
  }
}

/** Return how many seconds a refusal asks to wait. */
export function waitS(problem) {
  return Math.max(1, problem.retryAfterS ?? 1);
}

/** Return an age for the eye: "2 s ago". */
export function ago(ageMs) {
  const s = Math.max(0, Math.round(ageMs / 1000));
  if (s < 60) return `${s} s ago`;
  if (s < 3600) return `${Math.floor(s / 60)} min ago`;
  return s < 172_800 ? `${Math.floor(s / 3600)} h ago` : `${Math.floor(s / 86_400)} days ago`;
}

/** Return an instant for the eye, by the reader's own clock: "14 Mar, 20:45". */
export function when(rfc3339) {
  const at = new Date(rfc3339);
  const options = { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hour12: false };
  if (at.getFullYear() !== new Date().getFullYear()) options.year = "numeric";
  return at.toLocaleString("en-GB", options);
}

/** Return `text` as a sentence: a capital first, a stop last. */
export function sentenceCase(text) {
  const first = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}

function until({ extra }) {
  const end = extra.until ?? extra.excluded_until ?? extra.locked_until;
  return end ? ` until ${when(end)}` : "";
}
