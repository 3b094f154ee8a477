/** Errors that the next question would meet, too. */
import type { ChatErrorKind } from "./clients/client.ts";

/** Spent tokens, a setting that is wrong, a server that is left alone: none of them is of the row. */
const LASTING: readonly string[] = [
  "budget",
  "circuit_open",
  "model_missing",
  "refused",
  "unauthorized",
] satisfies ChatErrorKind[];

/** Whether an error of this kind would hit all other predictions alike. */
export function isLasting(kind: string): boolean {
  return LASTING.includes(kind);
}
