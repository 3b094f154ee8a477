/** Versions that an operator has taken out of use. */
import { HttpError } from "./http_error.ts";

/** What of one model was unloaded by request, until it is loaded again or the process ends. */
export class Unloaded {
  readonly #model: string;
  readonly #versions = new Set<number>();
  #isWhole = false;

  constructor(model: string) {
    this.#model = model;
  }

  /** Whether a version is; without one, whether all are. */
  has(version?: number): boolean {
    return this.#isWhole || (version !== undefined && this.#versions.has(version));
  }

  /** Takes a version out of use, `null` all of them. */
  add(version: number | null): void {
    if (version === null) this.#isWhole = true;
    else this.#versions.add(version);
  }

  /** Brings a version back, `null` all of them. A model that was unloaded as a whole is back, too. */
  remove(version: number | null): void {
    this.#isWhole = false;
    if (version === null) this.#versions.clear();
    else this.#versions.delete(version);
  }

  /** Gives the refusal of a request for what was unloaded. */
  refuse(version?: number): HttpError {
    const what = version === undefined || this.#isWhole ? "it" : `version ${version}`;
    return new HttpError(
      `Cannot predict with model "${this.#model}": ${what} is unloaded; ` +
        `load it by POST /v2/repository/models/${encodeURIComponent(this.#model)}/load`,
      "no_model",
    );
  }
}
