/** What a route of the MLflow protocol is: a line of a table. */
import type { z } from "zod";
import type { Role } from "../../runtime/api_keys.ts";
import type { Store } from "../../runtime/store/store.ts";
import type { Exchange, Reply } from "../exchange.ts";
import type { AliasChange } from "./guarded_aliases.ts";
import { readFields } from "./wire.ts";

/** What a route has at hand. */
export interface Call {
  readonly store: Store;
  readonly exchange: Exchange;
  /** Who asks: the name of the key, else of this server's user. */
  readonly by: string | null;
  /** Moves a guarded alias by the gates; gives `false` when the alias is not guarded. */
  moveGuarded(change: Pick<AliasChange, "name" | "alias" | "version">): Promise<boolean>;
}

/** One route. */
export interface MlflowRoute {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** Below `/api`, such as `/2.0/mlflow/runs/get`; `:name` takes one part, `*name` all the rest. */
  readonly path: string;
  /** The least role that may call it. */
  readonly role: Role;
  /** Largest body in bytes; `null` when the route reads it itself. */
  readonly maxBodyBytes: number | null;
  /** Gives what is answered as JSON, or an answer of another form. */
  answer(given: Readonly<Record<string, unknown>>, call: Call): Promise<object | RawReply>;
}

/** An answer that is no JSON. */
export class RawReply {
  constructor(readonly reply: Reply) {}
}

/** Bodies are small but for those of batches and registry tags. */
const MAX_BODY_BYTES = 2 * 2 ** 20;

/** How a route differs from others. */
interface MlflowRouteOptions {
  readonly maxBodyBytes?: number | null;
  /** Default `viewer` of a GET, else `operator`. */
  readonly role?: Role;
}

/** Gives a route whose fields, of path, query and body together, are checked first. */
export function route<S extends z.ZodRawShape>(
  method: MlflowRoute["method"],
  path: string,
  shape: S,
  answer: (fields: z.output<z.ZodObject<S>>, call: Call) => Promise<object>,
  options: MlflowRouteOptions = {},
): MlflowRoute {
  return {
    method,
    path,
    role: options.role ?? (method === "GET" ? "viewer" : "operator"),
    maxBodyBytes: options.maxBodyBytes === undefined ? MAX_BODY_BYTES : options.maxBodyBytes,
    answer: (given, call) => answer(readFields(shape, given), call),
  };
}
