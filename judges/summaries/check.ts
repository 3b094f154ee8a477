/**
 * What of a generated text stands in the facts it was written from: a sentence with a number, a name or
 * a state that is not there goes, and so does one that speaks to its reader. Words alone are looked up: a
 * sentence may still say something wrong about them.
 *
 * @module
 */
import { agrees, isNumberWord, readNumber, readSpelled, type WrittenNumber } from "./numbers.ts";
import { hasMarkup, isAddressed } from "./speech.ts";

/** Why a sentence is left out. */
export const dropReasons = [
  "number",
  "name",
  "state",
  "instruction",
  "markup",
  "repeated",
] as const;

/** One of {@linkcode dropReasons}. */
export type DropReason = typeof dropReasons[number];

/** A text with what was left out of it. */
export interface CheckedText {
  /** Sentences that are left, on one line; empty when there are none. */
  readonly text: string;
  /** How many they are. */
  readonly kept: number;
  /** The reason for each that was left out. */
  readonly dropped: readonly DropReason[];
}

/**
 * States that a reader would act on. Where the facts do not have the word, nothing is in it: a model that
 * is told of a firing alert may well write that it was resolved.
 */
const STATES =
  /^(?:resolved|recovered|cleared|fixed|healthy|stable|normal|perfect|critical|warning|pending|snoozed|flapping|approved|rejected|refused|overridden|trusted|advisory|quarantined|promoted|deployed|released)$/i;

/** Pairs of marks that quote a name. */
const QUOTED =
  /"([^"]*)"|“([^”]*)”|«([^»]*)»|`([^`]*)`|‘([^’]*)’|(?<![\p{L}\p{N}])'([^']+)'(?![\p{L}\p{N}])/gu;

const MOMENT =
  /(?<!\d)\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2})?)?(?!\d)|(?<!\d)\d{1,2}:\d{2}(?::\d{2})?(?!\d)/g;

const TOKEN =
  /(?<number>(?<![\p{L}\p{N}_]|[\p{L}_][-./])(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[+-]?\d+)?(?![\p{L}\p{N}_]))|(?<word>[\p{L}\p{N}_](?:[\p{L}\p{M}\p{N}_]|[-./](?=[\p{L}\p{N}_]))*)/giu;

const PERCENT = /^[\s-]?(?:%|per ?cent\b|percentage\b)/i;

interface Tokens {
  readonly moments: readonly string[];
  readonly numbers: readonly WrittenNumber[];
  readonly words: readonly string[];
}

/**
 * Checks a text against the block of facts that its writer was shown.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { checkText } from "./check.ts";
 *
 * const facts = "alert data_drift: firing, 12 findings, share 0.853";
 * assertEquals(checkText("Alert data_drift fires in 85 % of cases. It has 14 findings.", facts), {
 *   text: "Alert data_drift fires in 85 % of cases.",
 *   kept: 1,
 *   dropped: ["number"],
 * });
 * ```
 */
export function checkText(text: string, facts: string): CheckedText {
  const plain = text.normalize("NFKC").replace(/[\p{Cf}\u00ad]/gu, "");
  const known = readFacts(facts);
  const kept: string[] = [];
  const dropped: DropReason[] = [];
  // Every second part stands between fences.
  for (const [i, part] of plain.split(/```+|~~~+/).entries()) {
    if (i % 2 === 1) {
      dropped.push("markup");
      continue;
    }
    for (const sentence of splitSentences(part)) {
      const reason = kept.includes(sentence) ? "repeated" : findFault(sentence, known);
      if (reason === null) kept.push(sentence);
      else dropped.push(reason);
    }
  }
  return { text: kept.join(" "), kept: kept.length, dropped };
}

function splitSentences(text: string): string[] {
  const segmenter = new Intl.Segmenter("en", { granularity: "sentence" });
  return text.split(/[\p{Zl}\p{Zp}\r\n]+/u).flatMap((line) => {
    // What makes a line a heading or an item of a list.
    const words = line.replace(/^[\s|]*(?:#+\s+|[-*•]\s+|\d{1,2}[.)]\s+)*/, "").replace(
      /\*\*|__/g,
      "",
    );
    return [...segmenter.segment(words)]
      // By UAX 29 no sentence begins with a digit and goes on in lower case.
      .flatMap(({ segment }) => segment.split(/(?<=[.!?])\s+(?=\d)/))
      .map((sentence) => sentence.replace(/[\p{C}\s]+/gu, " ").trim());
  }).filter((sentence) => /[\p{L}\p{N}]/u.test(sentence));
}

interface KnownFacts extends Omit<Tokens, "words"> {
  readonly text: string;
  readonly words: ReadonlySet<string>;
}

function readFacts(facts: string): KnownFacts {
  const text = facts.normalize("NFKC");
  const { moments, numbers, words } = tokenize(text);
  const parts = words.flatMap((word) => [word, ...word.split(/[-./]/)]);
  return {
    text: text.toLowerCase().replace(/\s+/g, " "),
    moments,
    numbers,
    // A number within a name is no word of its own.
    words: new Set(parts.map((word) => word.toLowerCase()).filter((word) => /\D/.test(word))),
  };
}

function findFault(sentence: string, known: KnownFacts): DropReason | null {
  if (hasMarkup(sentence)) return "markup";
  if (isAddressed(sentence)) return "instruction";
  let isQuoteKnown = true;
  const rest = sentence.replace(QUOTED, (_, ...groups) => {
    const quoted = groups.slice(0, 6).find((group) => group !== undefined) as string;
    isQuoteKnown &&= isPhraseOf(quoted, known.text);
    return " · ";
  });
  if (!isQuoteKnown) return "name";
  // What is left of these numbers is no digit that could be looked up.
  if (/[^\P{N}0-9]/u.test(rest)) return "number";
  const { moments, numbers, words } = tokenize(rest);
  const isDated = moments.every((moment) =>
    known.moments.some((each) =>
      each === moment || each.startsWith(`${moment} `) || each.endsWith(` ${moment}`)
    )
  );
  const isCounted = numbers.every((number) => known.numbers.some((each) => agrees(number, each)));
  if (!isDated || !isCounted) return "number";
  if (!words.every((word) => isWordOf(word, known.words))) return "name";
  const isState = (word: string) => STATES.test(word) && !known.words.has(word.toLowerCase());
  return words.some(isState) ? "state" : null;
}

function tokenize(text: string): Tokens {
  const moments: string[] = [];
  const rest = text.replace(MOMENT, (moment) => {
    moments.push(moment.replace("T", " "));
    return " · ";
  });
  const numbers: WrittenNumber[] = [];
  const words: string[] = [];
  let spelled: { readonly words: string[]; end: number } | null = null;
  const endSpelled = () => {
    if (spelled === null) return;
    const isPercent = PERCENT.test(rest.slice(spelled.end));
    numbers.push({ ...readSpelled(spelled.words), isPercent });
    spelled = null;
  };
  for (const match of rest.matchAll(TOKEN)) {
    const { number, word } = match.groups!;
    const end = match.index + match[0].length;
    const parts = word?.toLowerCase().split("-") ?? [];
    if (parts.length > 0 && parts.every(isNumberWord)) {
      const gap: string = spelled === null ? "" : rest.slice(spelled.end, match.index);
      if (spelled === null || gap.trim() !== "") {
        endSpelled();
        spelled = { words: parts, end };
      } else spelled = { words: [...spelled.words, ...parts], end };
      continue;
    }
    endSpelled();
    if (number === undefined) words.push(word!);
    else {
      const before = rest.slice(Math.max(0, match.index - 2), match.index);
      const [, sign] = /(?:^|[^\p{L}\p{N}])([-+−])$/u.exec(before) ?? [];
      numbers.push({ ...readNumber(number, sign), isPercent: PERCENT.test(rest.slice(end)) });
    }
  }
  endSpelled();
  return { moments, numbers, words };
}

/** Whether a quoted name stands in the facts, whole. */
function isPhraseOf(quoted: string, facts: string): boolean {
  const phrase = quoted.toLowerCase().replace(/\s+/g, " ").replace(/^[\s,.;:]+|[\s,.;:!?]+$/g, "");
  for (
    let at = facts.indexOf(phrase);
    phrase !== "" && at >= 0;
    at = facts.indexOf(phrase, at + 1)
  ) {
    const end = at + phrase.length;
    const around = facts.slice(Math.max(0, at - 1), at) + facts.slice(end, end + 1);
    if (!/[\p{L}\p{N}_]/u.test(around)) return true;
  }
  return phrase === "";
}

/** Whether a word is in the facts, or is none that could name a thing. */
function isWordOf(word: string, known: ReadonlySet<string>): boolean {
  if (known.has(word.toLowerCase())) return true;
  const isName = (part: string) =>
    part.includes("_") || (/\p{L}/u.test(part) && /\p{N}/u.test(part)) ||
    /\p{Ll}\p{Lu}/u.test(part) || /^\p{Lu}[\p{Lu}\p{N}]+$/u.test(part) ||
    // Words of other scripts: nothing here could tell a name or a number among them.
    /[^\p{Script=Latin}\p{Script=Inherited}\p{N}_]/u.test(part);
  return word.split(/[-./]/).every((part) =>
    known.has(part.toLowerCase()) || (/\p{L}/u.test(part) && !isName(part))
  );
}
