import { assert, assertEquals } from "@std/assert";
import { TextReference } from "../../../numeric/drift/text.ts";
import { ks } from "../../../plugins/drift/ks.ts";
import { Random } from "../../../numeric/random.ts";

Deno.test("TextReference counts what a reader counts when texts are plain, accented or not Latin", () => {
  const reference = new TextReference(["Well-log: it's 3.5 m", "Größe 😀", "das Log"]);
  const { length, words, meanWordLength, nonLetterShare, unseenShare } = reference.columns;
  // "Well-log", "it's", "3", "5", "m"; "Größe"; "das", "Log"
  assertEquals([...length], [20, 7, 7]);
  assertEquals([...words], [5, 1, 2]);
  assertEquals([...meanWordLength], [(8 + 4 + 1 + 1 + 1) / 5, 5, 3]);
  // "-", ":", "'", "3", ".", "5"; the face
  assertEquals([...nonLetterShare], [6 / 20, 1 / 7, 0]);
  // Each has its words alone.
  assertEquals([...unseenShare], [1, 1, 1]);
  const current = reference.describe(["LOG das log Öl", "größe"]);
  assertEquals([...current.unseenShare], [1 / 4, 0]);
});

Deno.test("TextReference gives NaN for what is not there when texts are null, empty or without a word", () => {
  const reference = new TextReference([null, "", " \n", "?!"]);
  const { length, words, meanWordLength, nonLetterShare, unseenShare } = reference.columns;
  assertEquals([...length], [NaN, 0, 2, 2]);
  assertEquals([...words], [NaN, 0, 0, 0]);
  assertEquals([...meanWordLength], [NaN, NaN, NaN, NaN]);
  assertEquals([...nonLetterShare], [NaN, NaN, 0, 1]);
  assertEquals([...unseenShare], [NaN, NaN, NaN, NaN]);
  assertEquals(new TextReference([]).describe([]).length.length, 0);
});

Deno.test("TextReference finds replies that changed by ks, and none among those of one kind", () => {
  const random = new Random(3);
  const write = (vocabulary: number, words: number) =>
    Array.from(
      { length: 400 },
      () =>
        Array.from({ length: words + random.below(5) }, () => `w${random.below(vocabulary)}`)
          .join(" "),
    );
  const reference = new TextReference(write(300, 10));
  const drifted = (texts: string[]) => {
    const current = reference.describe(texts);
    return Object.entries(reference.columns)
      .filter(([name, values]) =>
        ks.compare(values, current[name as keyof typeof current])!.isDrifted
      )
      .map(([name]) => name);
  };
  assertEquals(drifted(write(300, 10)), []);
  assert(drifted(write(900, 10)).includes("unseenShare"));
  assert(drifted(write(300, 20)).includes("words"));
});
