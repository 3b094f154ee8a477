/** Actions of `deno task models` that decide: gates, approvals, cards, and the way to other environments. */
import { decideOn } from "../../runtime/registry/approvals.ts";
import { environments, loadConfig } from "../../runtime/config.ts";
import { pushVersion } from "../../runtime/registry/environments.ts";
import { UsageError } from "../../runtime/errors.ts";
import { makeModelCard } from "../../runtime/registry/model_card.ts";
import { resolveVersion, userName, versionAt } from "../../runtime/registry/model_registry.ts";
import { promote } from "../../runtime/registry/promotion.ts";
import { openStore } from "../../runtime/store/store.ts";
import { print } from "../../runtime/terminal.ts";
import { sections } from "../../run.ts";
import { checkName, projectOptions, readText } from "../options.ts";
import { writeWhole } from "../sql.ts";
import { gateParams, type ModelsAction, printPromotion } from "./action.ts";

/** Whoever may run commands on this machine may do everything with its store. */
const LOCAL_ROLE = "admin";

/** Moves an alias when the gates pass. */
const promoteAction: ModelsAction = {
  positionals: ["REF", "ALIAS"],
  options: ["reason", "force"],
  async run({ store, config, args }, reference, alias) {
    const { options } = args;
    const reason = readText(options.reason);
    const isForced = options.force === true;
    if (isForced && reason === undefined) {
      throw new UsageError(
        'Cannot use --force without --reason: it stays on record; add --reason "why"',
      );
    }
    const outcome = await promote(store, {
      version: await resolveVersion(store, config.name, reference),
      alias,
      environment: config.environment,
      params: gateParams(config),
    }, { by: userName(), role: LOCAL_ROLE, reason: reason ?? "promoted by hand", isForced });
    return printPromotion(outcome, args);
  },
};

function decision(kind: "approved" | "rejected"): ModelsAction {
  return {
    positionals: ["REF"],
    options: ["reason"],
    async run({ store, config, args }, reference) {
      const version = await resolveVersion(store, config.name, reference);
      const by = userName();
      await decideOn(store, version, {
        decision: kind,
        by,
        role: LOCAL_ROLE,
        reason: readText(args.options.reason),
        fourEyes: gateParams(config).approvals.fourEyes,
      });
      if (args.options.json === true) {
        return print(JSON.stringify({ ...version, decision: kind, by }));
      }
      print(
        `${kind} by ${by}: ${version.model} version ${version.version} ` +
          `(evidence ${version.evidenceHash.slice(0, 12)})`,
      );
    },
  };
}

/** Says what an alias pointed to at a time. */
const at: ModelsAction = {
  positionals: ["ALIAS", "TIME"],
  options: [],
  async run({ store, config, args }, alias, text) {
    const time = readTime(text);
    const model = config.name;
    const name = alias.replace(/^@/, "");
    const [known] = await store.query(
      "select 1 from core.alias_log where model = ? and alias = ? limit 1",
      [model, name],
    );
    // Says which aliases there are.
    if (!known) await resolveVersion(store, model, `@${name}`);
    const version = await versionAt(store, model, name, time);
    if (args.options.json === true) {
      return print(JSON.stringify({ model, alias: name, time: time.toISOString(), version }));
    }
    print(
      `${model}@${name} ${
        version === null ? "pointed to no version" : `was version ${version}`
      } at ${time.toISOString()}`,
    );
  },
};

function readTime(text: string): Date {
  // Without a zone it is UTC, as every time in the store is.
  const iso = /^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?)?$/.test(text)
    ? `${text.replace(" ", "T")}${text.length > 10 ? "Z" : ""}`
    : text;
  const time = new Date(/^\d{4}-\d\d-\d\d/.test(iso) ? iso : NaN);
  if (Number.isNaN(time.getTime())) {
    throw new UsageError(
      `Cannot use time "${text}": write it as 2026-03-31 or 2026-03-31T12:00:00Z`,
    );
  }
  if (time.getTime() <= Date.now()) return time;
  throw new UsageError(`Cannot say what will be at "${text}": it has not come yet`);
}

const card: ModelsAction = {
  positionals: ["[REF]"],
  options: ["out"],
  async run({ store, config, args }, reference = "production") {
    const out = readText(args.options.out);
    const version = await resolveVersion(store, config.name, reference);
    const text = await makeModelCard(store, version, config.environment);
    if (out === undefined) return print(text.trimEnd());
    await writeWhole(out, text);
    print(`card of ${version.model} version ${version.version} written to ${out}`);
  },
};

/** Copies a version into the store of another environment, whose gates then guard its aliases. */
const push: ModelsAction = {
  positionals: ["REF"],
  options: ["to", "alias", "reason"],
  async run({ store, config, args }, reference) {
    const to = readText(args.options.to);
    const alias = readText(args.options.alias);
    if (to === undefined) {
      throw new UsageError(
        `Cannot push "${reference}" without --to: there are ${environments.join(", ")}`,
      );
    }
    checkName("environment", to, environments);
    const there = await loadConfig(sections, { ...projectOptions(args), environment: to });
    const version = await resolveVersion(store, config.name, reference);
    const by = userName();
    await using target = await openStore(there.store, { publish: false });
    const pushed = await pushVersion({
      version,
      from: { store, environment: config.environment },
      to: { store: target, environment: to },
      by,
    });
    const { model, version: number } = pushed.version;
    if (args.options.json !== true) {
      print(
        `${model} version ${version.version} of ${config.environment} is version ${number} of ${to}` +
          `${pushed.isNew ? "" : ", as before"} (evidence ${version.evidenceHash.slice(0, 12)})`,
      );
    }
    if (alias === undefined) {
      if (args.options.json === true) print(JSON.stringify({ ...pushed, environment: to }));
      return;
    }
    const outcome = await promote(target, {
      version: pushed.version,
      alias,
      environment: to,
      params: gateParams(there),
    }, {
      by,
      role: LOCAL_ROLE,
      reason: readText(args.options.reason) ?? `pushed from ${config.environment}`,
    });
    return printPromotion(outcome, args);
  },
};

/** The actions by name. */
export const promotionActions = {
  promote: promoteAction,
  approve: decision("approved"),
  reject: decision("rejected"),
  at,
  card,
  push,
} as const satisfies Record<string, ModelsAction>;
