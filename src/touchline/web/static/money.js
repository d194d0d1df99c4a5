/**
 * Exact decimals: money in minor units and odds in thousandths, as BigInt.
 *
 * Invariant: no amount and no price ever passes through a float.
 */

const DIGITS = { EUR: 2, GBP: 2, USD: 2, JPY: 0, KWD: 3 };
const SYMBOLS = { EUR: "€", GBP: "£", USD: "$", JPY: "¥" };
const DECIMAL = /^([0-9]{1,13})(?:\.([0-9]{1,15}))?$/;
const TYPED_COMMA = /^[0-9]+,[0-9]{1,2}$/;

/** Return the decimal `text` in units of 10**-`digits`, or null where it is no such decimal. */
export function parseScaled(text, digits) {
  const match = DECIMAL.exec(text);
  if (match === null) return null;
  const fraction = (match[2] ?? "").replace(/0+$/, "");
  return fraction.length > digits ? null : BigInt(match[1] + fraction.padEnd(digits, "0"));
}

/** Return `units` of 10**-`digits` as a decimal with just that many places. */
export function formatScaled(units, digits) {
  const sign = units < 0n ? "-" : "";
  const text = (units < 0n ? -units : units).toString().padStart(digits + 1, "0");
  if (digits === 0) return sign + text;
  return `${sign}${text.slice(0, -digits)}.${text.slice(-digits)}`;
}

/**
 * Return an amount typed by a person, in minor units, or null. A comma may stand for the point ("5,50"); "1,000"
 * is refused, since it means two things.
 */
export function parseTypedMinor(typed, currency) {
  const text = typed.trim();
  const minor = parseScaled(TYPED_COMMA.test(text) ? text.replace(",", ".") : text, digitsOf(currency));
  return minor === null || minor === 0n ? null : minor;
}

/** Return minor units as the decimal string the platform reads. */
export function minorToText(minor, currency) {
  return formatScaled(minor, digitsOf(currency));
}

/** Return what a winner is paid, stake included, rounded once, half up. */
export function payoutMinor(stakeMinor, oddsMilli) {
  return (stakeMinor * oddsMilli + 500n) / 1000n;
}

/** Return decimal odds in thousandths. */
export function oddsMilli(text) {
  return parseScaled(text, 3);
}

/** Return the decimal string `amount` for the eye: grouped, with its currency's sign ("€1,000.00"). */
export function showMoney(amount, currency) {
  const sign = amount.startsWith("-") ? "−" : "";
  const [whole, fraction] = amount.replace(/^-/, "").split(".");
  const grouped = whole.replace(/\B(?=([0-9]{3})+$)/g, ",");
  const number = fraction === undefined ? grouped : `${grouped}.${fraction}`;
  const symbol = SYMBOLS[currency];
  return symbol ? `${sign}${symbol}${number}` : `${sign}${number} ${currency}`;
}

/** Return minor units for the eye. */
export function showMinor(minor, currency) {
  return showMoney(minorToText(minor, currency), currency);
}

function digitsOf(currency) {
  return DIGITS[currency] ?? 2;
}
