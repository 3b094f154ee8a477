/** `deno task judges label`, one prediction after the other by single keys, and `label FILE`. */
import { importJudgeLabels } from "../../judges/label_import.ts";
import { describeCase, type LabelCase, nextCase, recordJudgeLabels } from "../../judges/labels.ts";
import { formatCount, formatTable, print } from "../../runtime/terminal.ts";
import type { JudgesContext } from "../judges.ts";
import { choosePlugins, readText } from "../options.ts";

const HELP = "y good, n bad, s skip, u undo, q end";

/** Asks a person, or takes the labels of a file. */
export async function handle(context: JudgesContext): Promise<void> {
  const { args, project: { store, plugins }, names: [file] } = context;
  const judge = readText(args.options.judge) ?? "";
  if (judge !== "") choosePlugins(plugins, "judge", [judge]);
  const source = { judge, by: readText(args.options.by) ?? Deno.env.get("USER") ?? null };
  if (file !== undefined) {
    const { signal } = args;
    const kept = await importJudgeLabels(store, file, { ...source, plugins, signal });
    return print(
      args.options.json === true ? JSON.stringify({ kept }) : `${formatCount(kept)} labels kept`,
    );
  }
  const kept = await ask(context, source);
  print(args.options.json === true ? JSON.stringify({ kept }) : `${formatCount(kept)} labels kept`);
}

/** Shows cases until there is none left, or the person ends; gives the labels that stand. */
async function ask(
  { args, project: { store }, version: { model, version } }: JudgesContext,
  source: { readonly judge: string; readonly by: string | null },
): Promise<number> {
  const { judge } = source;
  const given: { readonly requestId: string; readonly row: number }[] = [];
  const skipped: string[] = [];
  using keys = openKeys();
  let shown: LabelCase | null = null;
  for (let isNew = true;;) {
    args.signal.throwIfAborted();
    if (isNew) {
      shown = await nextCase(store, { model, version, judge, skipped });
      if (shown === null) {
        print("nothing is left to label: what judges have judged has its truth");
        return given.length;
      }
      print(draw(shown));
    }
    const { requestId, row } = shown!.inference;
    const key = await keys.read();
    isNew = true;
    if (key === null || key === "q" || key === "\x03" || key === "\x04") return given.length;
    if (key === "y" || key === "n") {
      const label = key === "y" ? "good" : "bad";
      await recordJudgeLabels(store, [{ requestId, row, label }], source);
      given.push({ requestId, row });
      print(`  ${label}`);
    } else if (key === "s") {
      skipped.push(`${requestId}:${row}`);
      print("  skipped");
    } else if (key === "u") {
      const last = given.pop();
      if (last === undefined) {
        print("  nothing to undo");
        isNew = false;
        continue;
      }
      await recordJudgeLabels(store, [{ ...last, label: null }], source);
      print("  taken back");
    } else {
      print(`  ${HELP}`);
      isNew = false;
    }
  }
}

function draw(shown: LabelCase): string {
  const { inference: { requestId, row, label, confidence }, left } = shown;
  const lines = describeCase(shown).map(({ feature, value, usual, deviations }) => [
    feature,
    value,
    usual,
    deviations === null ? "" : `${deviations < 0 ? "−" : "+"}${Math.abs(deviations).toFixed(1)}`,
  ]);
  return `\n${left} left · ${requestId} row ${row}\n` +
    `predicted ${label} (${(100 * confidence).toFixed(0)} %)\n\n` +
    `${formatTable(["feature", "value", `usual of ${label}`, "deviations"], lines)}\n\n` +
    `Is it ${label}? ${HELP}`;
}

/** Keys one by one: of a terminal as they are pressed, else as they come, without line ends. */
function openKeys(): Disposable & { read(): Promise<string | null> } {
  const isTerminal = Deno.stdin.isTerminal();
  if (isTerminal) Deno.stdin.setRaw(true);
  const byte = new Uint8Array(1);
  return {
    async read() {
      for (;;) {
        if (await Deno.stdin.read(byte) === null) return null;
        const key = String.fromCharCode(byte[0]);
        if (key !== "\n" && key !== "\r") return key;
      }
    },
    [Symbol.dispose]() {
      if (isTerminal) Deno.stdin.setRaw(false);
    },
  };
}
