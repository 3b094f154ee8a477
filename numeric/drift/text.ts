/**
 * Texts as numbers that methods of drift can compare: how long they are, what they are made of, and how
 * many of their words the reference does not have.
 *
 * @module
 */

/** What of a text is a number, in the order in which it is reported. */
export const textDescriptors = [
  "length",
  "words",
  "meanWordLength",
  "nonLetterShare",
  "unseenShare",
] as const;

/** One of {@linkcode textDescriptors}. */
export type TextDescriptor = typeof textDescriptors[number];

/**
 * A column `[n]` for each descriptor:
 *
 * - `length`: characters, as Unicode code points;
 * - `words`: runs of letters and digits, with marks, hyphens and apostrophes inside;
 * - `meanWordLength`: characters a word;
 * - `nonLetterShare`: share in `[0, 1]` of characters that are neither a letter nor white space;
 * - `unseenShare`: share in `[0, 1]` of the words that no other text of the reference has, without
 *   regard to case.
 *
 * A text that is `null` is `NaN` in every column. An empty one has 0 characters and words; what is
 * counted per character or word is `NaN` where there is none.
 */
export type TextColumns = Readonly<Record<TextDescriptor, Float64Array>>;

const wordPattern = /[\p{L}\p{N}](?:[\p{L}\p{M}\p{N}'’-]*[\p{L}\p{M}\p{N}])?/gu;
const nonLetterPattern = /[^\p{L}\p{M}\s]/gu;

/**
 * The words of a reference, against which texts are described. A word of the reference counts as seen
 * when another of its texts has it, so that reference and current texts of one kind have the same
 * expected share of unseen words but for one text in n.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { TextReference } from "./text.ts";
 *
 * const reference = new TextReference(["Clean sand.", "clean shale"]);
 * assertEquals([...reference.columns.unseenShare], [0.5, 0.5]);
 * const { length, words, unseenShare } = reference.describe(["Sand, no coal!", ""]);
 * assertEquals([...length], [14, 0]);
 * assertEquals([...words], [3, 0]);
 * assertEquals([...unseenShare], [2 / 3, NaN]);
 * ```
 */
export class TextReference {
  /** Texts of the reference that have a word, by word. */
  readonly #texts = new Map<string, number>();
  /** The reference's own texts. */
  readonly columns: TextColumns;

  constructor(texts: readonly (string | null)[]) {
    for (const text of texts) {
      for (const word of new Set(listWords(text ?? "").map(fold))) {
        this.#texts.set(word, (this.#texts.get(word) ?? 0) + 1);
      }
    }
    this.columns = this.#describe(texts, 1);
  }

  /** Describes texts that are not of the reference. */
  describe(texts: readonly (string | null)[]): TextColumns {
    return this.#describe(texts, 0);
  }

  /** A word is unseen when no more than `own` texts of the reference have it. */
  #describe(texts: readonly (string | null)[], own: 0 | 1): TextColumns {
    const empty = () => new Float64Array(texts.length).fill(NaN);
    const columns: Record<TextDescriptor, Float64Array> = {
      length: empty(),
      words: empty(),
      meanWordLength: empty(),
      nonLetterShare: empty(),
      unseenShare: empty(),
    };
    texts.forEach((text, i) => {
      if (text === null) return;
      const length = countCharacters(text);
      const words = listWords(text);
      const unseen = words.filter((word) => (this.#texts.get(fold(word)) ?? 0) <= own);
      columns.length[i] = length;
      columns.words[i] = words.length;
      // Without a word or character these are 0 / 0.
      columns.meanWordLength[i] = words.reduce((sum, word) => sum + countCharacters(word), 0) /
        words.length;
      columns.nonLetterShare[i] = (text.match(nonLetterPattern)?.length ?? 0) / length;
      columns.unseenShare[i] = unseen.length / words.length;
    });
    return columns;
  }
}

function listWords(text: string): readonly string[] {
  return text.match(wordPattern) ?? [];
}

/** Gives a word as it is compared: the same letter can be written in several ways. */
function fold(word: string): string {
  return word.normalize("NFKC").toLowerCase();
}

function countCharacters(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}
