import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { z } from "zod";
import { type ConfigOptions, loadConfig, parseParams } from "../../runtime/config.ts";
import { UsageError } from "../../runtime/errors.ts";

const sections = {
  training: z.strictObject({
    trainer: z.string().default("boosting"),
    params: z.record(z.string(), z.unknown()).default({}),
    folds: z.int().min(2).default(5),
  }),
  features: z.strictObject({
    columns: z.union([
      z.literal("numeric"),
      z.array(z.string()),
      z.record(z.string(), z.strictObject({ unit: z.string().optional(), log: z.boolean() })),
    ]).default("numeric"),
    files: z.array(z.strictObject({ uri: z.string(), group: z.string().optional() })).default([]),
  }).prefault({}),
};

const BASE = "version: 1\nname: rocks\n";

/** Loads `config/my.yaml` of a folder of these files. */
async function load(
  files: Readonly<Record<string, string>>,
  options: Omit<ConfigOptions, "file"> = {},
  name = "my",
) {
  const dir = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${dir}/config`);
    for (const [stem, text] of Object.entries(files)) {
      await Deno.writeTextFile(`${dir}/config/${stem}.yaml`, text);
    }
    return await loadConfig(sections, { file: `${dir}/config/${name}.yaml`, ...options });
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

async function assertRefused(
  files: Readonly<Record<string, string>>,
  message: string,
  options: Omit<ConfigOptions, "file"> = {},
): Promise<string> {
  const error = await assertRejects(() => load(files, options), UsageError, message);
  assert(error.message.startsWith("Cannot "), error.message);
  return error.message;
}

Deno.test("loadConfig() fills in defaults when the file says little", async () => {
  const config = await load({ my: BASE, dev: "" });
  assertEquals(config, {
    version: 1,
    name: "rocks",
    store: ".geophone/dev.duckdb",
    seed: 42,
    plugins: [],
    environment: "dev",
    sections: {
      training: { trainer: "boosting", params: {}, folds: 5 },
      features: { columns: "numeric", files: [] },
    },
  });
});

Deno.test("loadConfig() lets each layer win over the one before: file, environment, overlay, --set, seed", async () => {
  const layer = (seed: number, folds: number) => `seed: ${seed}\ntraining: { folds: ${folds} }\n`;
  const files = {
    my: `${BASE}${layer(1, 2)}`,
    staging: layer(2, 3),
    quick: layer(3, 4),
  };
  const read = async (from: Record<string, string>, options: Omit<ConfigOptions, "file">) => {
    const { seed, sections } = await load(from, { environment: "staging", ...options });
    return [seed, (sections.training as { folds: number }).folds];
  };
  assertEquals(await read({ my: files.my, staging: "" }, {}), [1, 2]);
  assertEquals(await read(files, {}), [2, 3]);
  assertEquals(await read(files, { overlays: ["quick"] }), [3, 4]);
  const settings = ["seed=4", "training.folds=5", "training.folds=6"];
  assertEquals(await read(files, { overlays: ["quick"], settings }), [4, 6]);
  assertEquals(await read(files, { overlays: ["quick"], settings, seed: 5 }), [5, 6]);
  assertEquals(await read(files, { seed: 0 }), [0, 3]);
});

Deno.test("loadConfig() merges mappings and replaces lists and scalars", async () => {
  const { sections } = await load({
    my: `${BASE}training: { trainer: prior, params: { a: 1, b: { c: 2 } } }
features: { files: [{ uri: x }, { uri: y }] }`,
    dev: "training: { params: { b: { d: 3 } } }\nfeatures: { files: [{ uri: z }] }",
  });
  assertEquals(sections, {
    training: { trainer: "prior", params: { a: 1, b: { c: 2, d: 3 } }, folds: 5 },
    features: { columns: "numeric", files: [{ uri: "z" }] },
  });
});

Deno.test("loadConfig() reads the value of a setting as YAML", async () => {
  const { sections, store } = await load({ my: BASE, dev: "# nothing" }, {
    settings: [
      "training.params.text=a=b",
      "training.params.list=[1, x]",
      "training.params.none=",
      "store=other/file.duckdb",
    ],
  });
  assertEquals((sections.training as { params: unknown }).params, {
    text: "a=b",
    list: [1, "x"],
    none: null,
  });
  assertEquals(store, "other/file.duckdb");
  const memory = { settings: ["store=:memory:", "training.params={ a: 1 }"] };
  const other = await load({ my: BASE, dev: "" }, memory);
  assertEquals(other.store, ":memory:");
  assertEquals((other.sections.training as { params: unknown }).params, { a: 1 });
});

Deno.test("loadConfig() takes an empty section and an empty overlay as none", async () => {
  const { sections } = await load({ my: `${BASE}training:\nfeatures: {}\n`, dev: "---\n# none\n" });
  assertEquals((sections.training as { folds: number }).folds, 5);
});

Deno.test("loadConfig() takes the house's overlay when the file's folder has none", async () => {
  const error = await assertRejects(
    () => load({ my: BASE }, { environment: "production" }),
    UsageError,
  );
  // The house's production.yaml has sections that this test's schema lacks.
  assertStringIncludes(error.message, 'unknown key "release"');
  assertEquals(
    (await load({ my: BASE, production: "" }, { environment: "production" })).store,
    ".geophone/production.duckdb",
  );
});

Deno.test("loadConfig() names the nearest key when one is unknown, at the top and within", async () => {
  const dev = "";
  await assertRefused(
    { my: `${BASE}trainin: {}`, dev },
    'unknown key "trainin"; did you mean "training"?',
  );
  await assertRefused(
    { my: `${BASE}training: { fold: 3 }`, dev },
    'training: unknown key "fold"; did you mean "folds"?',
  );
  await assertRefused(
    { my: `${BASE}training: { zzzzzz: 3 }`, dev },
    'training: unknown key "zzzzzz"; there are trainer, params, folds',
  );
  await assertRefused(
    { my: `${BASE}features: { files: [{ uri: a }, { uri: b, grup: x }] }`, dev },
    'features.files.1: unknown key "grup"; did you mean "group"?',
  );
  await assertRefused(
    { my: `${BASE}features: { columns: { GR: { log: true, unti: m } } }`, dev },
    'features.columns.GR: unknown key "unti"; did you mean "unit"?',
  );
  await assertRefused({ my: BASE, dev }, 'training: unknown key "fold"', {
    settings: ["training.fold=3"],
  });
});

Deno.test("loadConfig() says what a value must be when its type or range is wrong", async () => {
  const dev = "";
  await assertRefused(
    { my: `${BASE}training: { folds: many }`, dev },
    "training.folds: expected number, received string",
  );
  await assertRefused({ my: `${BASE}training: { folds: 1 }`, dev }, "training.folds: Too small");
  await assertRefused(
    { my: `${BASE}training: 3`, dev },
    "training: expected object, received number",
  );
  await assertRefused({ my: `${BASE}features: { columns: 3 }`, dev }, "features.columns: expected");
  await assertRefused(
    { my: `${BASE}features: { columns: { GR: { log: 1 } } }`, dev },
    "features.columns.GR.log: expected boolean",
  );
  await assertRefused({ my: "version: 1\nname: a b", dev }, "name: use letters, digits, _ and -");
  await assertRefused({ my: "version: 1", dev }, "name: expected string, received undefined");
  await assertRefused({ my: `${BASE}seed: -1`, dev }, "seed: Too small");
  const both = await assertRefused({ my: `${BASE}seed: x\ntraining: { folds: x }`, dev }, "seed: ");
  assertStringIncludes(both, "; training.folds: ");
});

Deno.test("loadConfig() says so when the version is missing, newer or no number", async () => {
  await assertRefused({ my: "name: rocks" }, 'it has no version; add "version: 1"');
  await assertRefused(
    { my: "version: 2\nname: rocks" },
    "it is for config version 2 and this Geophone reads 1; update Geophone",
  );
  await assertRefused({ my: "version: one\nname: rocks", dev: "" }, "version: ");
});

Deno.test("loadConfig() names the file when it is missing, no YAML or no mapping", async () => {
  await assertRefused({}, "there is no such file; make one with");
  for (const text of ["a: [1", "a: 1\na: 2", "a: b: c", "\t- x"]) {
    const message = await assertRefused({ my: text }, "Cannot parse config");
    assertStringIncludes(message, "my.yaml");
  }
  for (const text of ["", "- a", "word", "42", "# only a comment"]) {
    await assertRefused({ my: text }, "it holds no mapping of keys to values");
  }
  const message = await assertRefused({ my: BASE, dev: "a: [" }, "Cannot parse config");
  assertStringIncludes(message, "dev.yaml");
  await assertRefused({ my: BASE, dev: "[1]" }, "it holds no mapping");
});

Deno.test("loadConfig() explains when a setting is none", async () => {
  for (const setting of ["training", "=3", ".a=3", "training.=3", "a..b=1"]) {
    await assertRefused({ my: BASE, dev: "" }, `Cannot use setting "${setting}": write it as`, {
      settings: [setting],
    });
  }
  const message = await assertRefused({ my: BASE, dev: "" }, "its value is no YAML", {
    settings: ["training.folds=[1"],
  });
  assert(!message.includes("\n"), message);
});

Deno.test("loadConfig() lists what there is when an environment or overlay is unknown", async () => {
  await assertRefused(
    { my: BASE },
    'Cannot use environment "prod": there are dev, staging, production',
    {
      environment: "prod",
    },
  );
  await assertRefused({ my: BASE, dev: "" }, 'Cannot find overlay "fast"', { overlays: ["fast"] });
});

Deno.test("loadConfig() does not lay a file over itself when it is named as its environment", async () => {
  const config = await load({ dev: `${BASE}seed: 7` }, {}, "dev");
  assertEquals([config.seed, config.environment], [7, "dev"]);
});

Deno.test("parseParams() names the place and the nearest key when parameters are wrong", () => {
  const schema = z.strictObject({ rounds: z.int().default(10) });
  assertEquals(parseParams(schema, {}, "training.params"), { rounds: 10 });
  const wrong: [values: unknown, message: string][] = [
    [{ round: 1 }, 'Cannot use x: unknown key "round"; did you mean "rounds"?'],
    [{ rounds: 0.5 }, "Cannot use x: rounds: "],
    [undefined, "Cannot use x: expected object"],
  ];
  for (const [values, message] of wrong) {
    assertThrows(() => parseParams(schema, values, "x"), UsageError, message);
  }
});
