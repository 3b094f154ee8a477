/** Personal data found by its form, and taken out of a text before a prompt leaves. */

/** What is found. */
export const personalKinds = ["email", "iban", "card", "ip", "phone"] as const;

/** One of {@linkcode personalKinds}. */
export type PersonalKind = typeof personalKinds[number];

/** One piece of personal data: UTF-16 positions `[start, end)` in the text. */
export interface PersonalData {
  readonly kind: PersonalKind;
  readonly start: number;
  readonly end: number;
}

const OCTET = "(?:25[0-5]|2[0-4]\\d|1?\\d?\\d)";

/**
 * Forms, the more telling ones first: what one took no other takes. No part of unbounded length is tried
 * at each of its characters: a long text without any would hold up everything.
 */
const DETECTORS: readonly (readonly [PersonalKind, RegExp, ((text: string) => boolean)?])[] = [
  ["email", /[\p{L}\p{N}._%+-]{1,64}@[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)*\.\p{L}{2,}/gu],
  ["iban", /\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b/g, isIban],
  ["card", /(?<![\d.])\d(?:[ -]?\d){12,18}(?![\d.]\d)/g, isLuhn],
  ["ip", new RegExp(`(?<![\\d.])${OCTET}(?:\\.${OCTET}){3}(?![\\d.]*\\d)`, "g")],
  [
    "ip",
    /(?<![\w:])(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}(?![\w:])|(?<![\w:])(?:[0-9a-f]{1,4}:){1,6}(?::[0-9a-f]{1,4}){1,6}(?![\w:])/gi,
  ],
  ["phone", /(?<![\p{L}\d.])(?:\+\d{1,3}[ .-]?)(?:\(?\d{1,4}\)?[ .-]?){2,5}\d{2,4}(?!\d)/gu],
  ["phone", /(?<![\p{L}\d.+])\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}(?!\d)/gu],
];

/**
 * Gives the personal data in a text, in its order: e-mail addresses, IBANs whose check digits hold,
 * card numbers that pass Luhn's test, IP addresses and telephone numbers.
 */
export function findPersonalData(text: string): PersonalData[] {
  const found: PersonalData[] = [];
  const isTaken = new Uint8Array(text.length);
  for (const [kind, pattern, isReal] of DETECTORS) {
    for (const match of text.matchAll(pattern)) {
      const [start, end] = [match.index, match.index + match[0].length];
      if (isReal?.(match[0]) === false) continue;
      if (isTaken.subarray(start, end).includes(1)) continue;
      isTaken.fill(1, start, end);
      found.push({ kind, start, end });
    }
  }
  return found.sort((a, b) => a.start - b.start);
}

/**
 * Gives a text in which each piece of personal data is its kind in brackets.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { redactText } from "./redact.ts";
 *
 * assertEquals(redactText("Ask ada@example.com at 192.0.2.7"), "Ask [email] at [ip]");
 * assertEquals(redactText("GR 31.5 at 2,105.25 m"), "GR 31.5 at 2,105.25 m");
 * ```
 */
export function redactText(text: string): string {
  let rest = 0;
  const parts: string[] = [];
  for (const { kind, start, end } of findPersonalData(text)) {
    parts.push(text.slice(rest, start), `[${kind}]`);
    rest = end;
  }
  return parts.join("") + text.slice(rest);
}

const PLACEHOLDER = new RegExp(`\\[(${personalKinds.join("|")})\\]`, "g");

/** Gives the kinds of what {@linkcode redactText} took out of a text, in its order. */
export function findRedacted(text: string): PersonalKind[] {
  return Array.from(text.matchAll(PLACEHOLDER), ([, kind]) => kind as PersonalKind);
}

/** @see ISO/IEC 7812-1, annex B */
function isLuhn(text: string): boolean {
  const digits = [...text.replace(/\D/g, "")].reverse().map(Number);
  const sum = digits.reduce((sum, digit, i) => {
    const doubled = i % 2 === 1 ? 2 * digit : digit;
    return sum + (doubled > 9 ? doubled - 9 : doubled);
  }, 0);
  return sum % 10 === 0 && digits.some((digit) => digit !== 0);
}

/** @see ISO 13616-1, ISO/IEC 7064 MOD 97-10 */
function isIban(text: string): boolean {
  const plain = text.replaceAll(" ", "");
  if (plain.length < 15 || plain.length > 34) return false;
  const moved = plain.slice(4) + plain.slice(0, 4);
  let remainder = 0;
  for (const character of moved) {
    for (const digit of String(parseInt(character, 36))) {
      remainder = (10 * remainder + Number(digit)) % 97;
    }
  }
  return remainder === 1;
}
