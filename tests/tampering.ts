/** Ways to change what was registered, byte by byte, as somebody with the file in hand could. */
import type { ModelVersion } from "../runtime/registry/model_registry.ts";
import type { Store } from "../runtime/store/store.ts";

/** Flips one bit in the middle of an artifact. */
export async function flipArtifact(store: Store, address: string): Promise<void> {
  const [row] = await store.query<{ content: Uint8Array }>(
    "select content from core.artifacts where sha256 = ?",
    [address],
  );
  const content = new Uint8Array(row.content);
  content[content.length >> 1] ^= 1;
  await store.query("update core.artifacts set content = ? where sha256 = ?", [content, address]);
}

/** A change, and what the refusal must say of it. */
export interface Tampering {
  readonly name: string;
  readonly message: string;
  tamper(store: Store, version: ModelVersion): Promise<unknown>;
}

const set = (column: string, sql: string) => (store: Store, { model, version }: ModelVersion) =>
  store.query(`update core.model_versions set ${column} = ${sql} where model = ? and version = ?`, [
    model,
    version,
  ]);

/** One of each kind. */
export const tamperings: readonly Tampering[] = [
  {
    name: "a byte of the model has changed",
    message: "its model bytes changed: its content now hashes to",
    tamper: (store, version) => flipArtifact(store, version.artifact),
  },
  {
    name: "the model is gone",
    message: "its model bytes changed: the store has none of this hash",
    tamper: (store, { artifact }) =>
      store.query("delete from core.artifacts where sha256 = ?", [artifact]),
  },
  {
    name: "a digit of the report has changed",
    message: "its report changed: it does not have the hash in the evidence",
    tamper: set("report", `regexp_replace(report::varchar, '"rows":\\d', '"rows":9')::json`),
  },
  {
    name: "a blank was put into the report",
    message: "its report changed",
    tamper: set("report", `(report::varchar || ' ')::json`),
  },
  {
    name: "a byte of the evidence has changed",
    message: "its evidence changed: its content now hashes to",
    tamper: (store, version) => flipArtifact(store, version.evidenceHash),
  },
  {
    name: "the evidence is gone",
    message: "its evidence changed: the store has none of this hash",
    tamper: (store, { evidenceHash }) =>
      store.query("delete from core.artifacts where sha256 = ?", [evidenceHash]),
  },
  {
    name: "the signature has changed",
    message: "its signature changed",
    tamper: set("signature", `replace(signature::varchar, '"seed":', '"seed":1')::json`),
  },
  {
    name: "two classes have changed places",
    message: "its signature changed",
    tamper: set("class_names", "list_reverse(class_names)"),
  },
  {
    name: "the golden batch has changed",
    message: "its golden batch changed",
    async tamper(store, { model, version }) {
      const [row] = await store.query<{ golden: string }>(
        "select report->>'golden' as golden from core.model_versions where model = ? and version = ?",
        [model, version],
      );
      await flipArtifact(store, row.golden);
    },
  },
  {
    name: "its entry names the bytes of another version",
    message: "its entry changed: it names other",
    tamper: set("artifact", "(select artifact from core.model_versions where version = 2)"),
  },
  {
    name: "its entry is another version's as a whole",
    message: "its entry changed",
    async tamper(store, version) {
      const other = (column: string) =>
        `(select ${column} from core.model_versions where version = 2)`;
      for (const column of ["artifact", "report", "signature", "evidence_hash"]) {
        await set(column, other(column))(store, version);
      }
    },
  },
];
