/** `deno task judges new NAME`. */
import { UsageError } from "../../runtime/errors.ts";
import { print } from "../../runtime/terminal.ts";
import type { Arguments } from "../arguments.ts";

const TEMPLATE = `---
# How is asked: question (Yes or No), labels, classify, reference-yesno, rubric-json, pairwise, guidelines
form: question
summary: whether the record is what the prediction says
# Texts of a prediction that are shown, such as [input, output]; none: its record
inputs: []
---

Do the measured values fit the predicted class?
`;

/** Where judges of a project lie. */
const FOLDER = "config/judges";

/**
 * Writes a template of a judge's file and says what to do with it.
 * @throws {UsageError} when the name is none, or the file is there.
 */
export async function writeTemplate(
  names: readonly string[],
  { options }: Arguments,
): Promise<void> {
  const [name] = names;
  if (names.length !== 1 || !/^[\w-]+$/.test(name)) {
    throw new UsageError(
      `Cannot make judge "${names.join(" ")}": give one name of letters, digits, _ and -`,
    );
  }
  const file = `${FOLDER}/${name}.md`;
  await Deno.mkdir(FOLDER, { recursive: true });
  try {
    await Deno.writeTextFile(file, TEMPLATE, { createNew: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    throw new UsageError(
      `Cannot make judge "${name}": ${file} is there already; take another name`,
    );
  }
  if (options.json === true) return print(JSON.stringify({ file }));
  print(
    `wrote ${file}: say what is asked, name it in the config by plugins: ["./${file}"], ` +
      `then run "deno task judge ${name}" and "deno task judges card ${name}"`,
  );
}
