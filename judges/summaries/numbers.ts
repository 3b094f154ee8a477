/** Numbers as texts write them, and whether two of them are one. */

/** A number in a text. */
export interface WrittenNumber {
  readonly value: number;
  /** Digits after its point. */
  readonly decimals: number;
  /** Whether its sign is written. */
  readonly isSigned: boolean;
  readonly isPercent: boolean;
}

/** Words that are numbers. "First" is more often something else. */
const WORDS: Readonly<Record<string, number>> = Object.fromEntries([
  ..."zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
    .split(" ").map((word, value) => [word, value]),
  ..."twenty thirty forty fifty sixty seventy eighty ninety".split(" ")
    .map((word, i) => [word, 10 * (i + 2)]),
  ..."second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split(" ")
    .map((word, i) => [word, i + 2]),
  ...Object.entries({
    once: 1,
    single: 1,
    twice: 2,
    couple: 2,
    double: 2,
    doubled: 2,
    thrice: 3,
    triple: 3,
    tripled: 3,
    half: 0.5,
    halves: 0.5,
    halved: 0.5,
    dozen: 12,
    dozens: 12,
    hundred: 100,
    hundreds: 100,
    thousand: 1e3,
    thousands: 1e3,
    million: 1e6,
    millions: 1e6,
    billion: 1e9,
  }),
]);

/** Words that multiply what stands before them. */
const FACTORS = [12, 100, 1e3, 1e6, 1e9];

/** Whether a word in lower case is a number. */
export function isNumberWord(word: string): boolean {
  return Object.hasOwn(WORDS, word);
}

/** The number that words in lower case make. */
export function readSpelled(words: readonly string[]): Omit<WrittenNumber, "isPercent"> {
  let [total, current] = [0, 0];
  for (const word of words) {
    const value = WORDS[word];
    if (!word.startsWith("twel") && FACTORS.includes(value)) {
      current = (current || 1) * value;
      if (value >= 1e3) [total, current] = [total + current, 0];
    } else current += value;
  }
  const value = total + current;
  return { value, decimals: Number.isInteger(value) ? 0 : 1, isSigned: false };
}

/** A number in digits, with the sign before it. */
export function readNumber(digits: string, sign?: string): Omit<WrittenNumber, "isPercent"> {
  const [, decimals = "", exponent = "0"] = /^[\d,]+(?:\.(\d+))?(?:e([+-]?\d+))?$/i.exec(digits) ??
    [];
  const value = Number(digits.replaceAll(",", ""));
  return {
    value: sign === "-" || sign === "−" ? -value : value,
    decimals: Math.max(0, decimals.length - Number(exponent)),
    isSigned: sign !== undefined,
  };
}

/** Whole numbers are no rounding of smaller fractions than this: 0.6 is not 1. */
const LEAST_ROUNDED = 10;

/**
 * Whether a number is one of the facts, rounded to the digits it is written with; a share may be
 * written in percent, and the other way around.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { agrees, readNumber } from "./numbers.ts";
 *
 * const share = { ...readNumber("0.853"), isPercent: false };
 * assertEquals(agrees({ ...readNumber("85"), isPercent: true }, share), true);
 * assertEquals(agrees({ ...readNumber("86"), isPercent: true }, share), false);
 * ```
 */
export function agrees(written: WrittenNumber, fact: WrittenNumber): boolean {
  if (written.isSigned && written.value < 0 !== fact.value < 0) return false;
  const [value, known] = [Math.abs(written.value), Math.abs(fact.value)];
  const { decimals } = written;
  if (written.isPercent === fact.isPercent) {
    return isRounded(value, known, { decimals, least: written.isPercent ? 1 : LEAST_ROUNDED });
  }
  // A count of one is no share of all.
  const [share, shareDecimals] = written.isPercent ? [known, fact.decimals] : [value, decimals];
  if (shareDecimals === 0 || share > 1) return false;
  return isRounded(value, written.isPercent ? 100 * known : known / 100, { decimals, least: 1 });
}

function isRounded(
  value: number,
  known: number,
  { decimals, least }: { readonly decimals: number; readonly least: number },
): boolean {
  const slack = 1e-9 * Math.max(1, known);
  if (Math.abs(value - known) <= slack) return true;
  if (decimals === 0 && known < least) return false;
  return Math.abs(value - known) <= 0.5 * 10 ** -decimals + slack;
}
