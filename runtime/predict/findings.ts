/** What a model sees otherwise than it stands in a file. */
import type { Finding } from "../../plugins/plugin.ts";
import { describeShown } from "../expectations.ts";
import type { Signature } from "../registry/signature.ts";
import type { Database } from "../store/store.ts";

/** Share of values outside a feature's range from which on a finding is a warning. */
const OUTLIER_WARNING = 0.05;

/** Rows that a finding names. */
const SHOWN_ROWS = 3;

/** Counts values outside their range, chunk by chunk. */
export class OutlierCounts {
  readonly #signature: Pick<Signature, "inputs" | "outliers">;
  readonly #values: Float64Array;
  readonly #outside: Float64Array;

  constructor(signature: Pick<Signature, "inputs" | "outliers">) {
    this.#signature = signature;
    this.#values = new Float64Array(signature.inputs.length);
    this.#outside = new Float64Array(signature.inputs.length);
  }

  /** Counts the values `[n, d]`, row-major, of some rows; they are compared as float32. */
  add(values: Float64Array): void {
    const { inputs, outliers } = this.#signature;
    if (outliers === "keep") return;
    inputs.forEach(({ range }, j) => {
      if (!range) return;
      for (let i = j; i < values.length; i += inputs.length) {
        const value = Math.fround(values[i]);
        if (value !== value) continue;
        this.#values[j]++;
        if (value < range[0] || value > range[1]) this.#outside[j]++;
      }
    });
  }

  /** One finding per input that has such values. */
  toFindings(): Finding[] {
    const { inputs, outliers } = this.#signature;
    return inputs.flatMap(({ name, unit, range }, j): Finding[] => {
      const [values, count] = [this.#values[j], this.#outside[j]];
      if (!range || count === 0) return [];
      return [{
        check: "outliers",
        severity: count > OUTLIER_WARNING * values ? "warning" : "info",
        subject: name,
        message: `${count} of ${values} values of ${name} lie outside [${range.join(", ")}]${
          unit ? ` ${unit}` : ""
        }; they ${outliers === "null" ? "count as missing" : "are clipped"}`,
      }];
    });
  }
}

/** Gives one finding per input with values that no float32 can hold; the table `input` has them marked. */
export async function findUnusable(
  store: Database,
  names: readonly string[],
): Promise<Finding[]> {
  const counts = names.map((_, j) => `count(*) filter (u${j}) as n${j}`);
  const [row] = await store.query<Record<string, number>>(
    `select ${counts.join(", ")} from input`,
  );
  const findings: Finding[] = [];
  for (const [j, name] of names.entries()) {
    if (row[`n${j}`] === 0) continue;
    const shown = await store.query(
      `select _row from input where u${j} order by 1 limit ${SHOWN_ROWS}`,
    );
    findings.push({
      check: "infinite",
      severity: "warning",
      subject: name,
      message: `${row[`n${j}`]} values of ${name} are infinite or beyond ±3.4e38, first in ${
        describeShown(shown)
      }; they count as missing: correct them in the file`,
      rows: shown,
    });
  }
  return findings;
}
