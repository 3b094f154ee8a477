/**
 * What a judge asks of a language model, whatever server answers: one question, one reply, or a
 * {@linkcode ChatError} that says which of the known ways it went wrong.
 *
 * @module
 */
import { describeError } from "../../runtime/errors.ts";

/** What kind of answer is asked for. */
export type Wanted =
  /** Candidates for one token, with their log-probabilities. */
  | { readonly kind: "choice" }
  /** A JSON value by a JSON schema. */
  | { readonly kind: "json"; readonly schema: Record<string, unknown>; readonly maxTokens: number }
  /** Plain text. */
  | { readonly kind: "text"; readonly maxTokens: number };

/** One question. The same request to the same model gives the same reply, as far as a server can. */
export interface ChatRequest {
  readonly system: string;
  readonly user: string;
  readonly wanted: Wanted;
  readonly seed: number;
}

/** A candidate for the first token, as the server sent it: a form checks it. */
export interface Candidate {
  readonly token: string;
  /** Natural logarithm of its probability. */
  readonly logprob: number;
}

/** One reply. */
export interface ChatReply {
  /** The model's words as they came. */
  readonly text: string;
  /** Candidates of one distribution, for `choice`; else none. */
  readonly candidates: readonly Candidate[];
  readonly tokensIn?: number;
  readonly tokensOut?: number;
}

/** A model on a server. */
export interface ChatClient {
  /** Address for the record, without credentials. */
  readonly server: string;
  readonly model: string;
  /** Content hash of the model as the server tells it, `null` when it does not. */
  readonly digest: string | null;
  /** What kind of server it is, as OpenTelemetry names providers, such as `ollama`. */
  readonly provider?: string;
  /**
   * Asks once.
   * @throws {ChatError}
   */
  ask(request: ChatRequest, signal: AbortSignal): Promise<ChatReply>;
}

/** The ways in which a question ends without an answer. */
export const chatErrorKinds = [
  "unreachable",
  "loading",
  "timeout",
  "model_missing",
  "truncated",
  "schema",
  "http",
  "unauthorized",
  "rate_limited",
  "cancelled",
  "circuit_open",
  "budget",
  "refused",
  "cassette_missing",
] as const;

/** One of {@linkcode chatErrorKinds}. */
export type ChatErrorKind = typeof chatErrorKinds[number];

/** Kinds after which the same question may be answered a little later. */
const RETRYABLE: readonly ChatErrorKind[] = [
  "unreachable",
  "loading",
  "timeout",
  "rate_limited",
  "circuit_open",
];

/** Longest message of a server that is kept, in UTF-16 units. */
const MESSAGE_LENGTH = 300;

/** A question that ended without an answer. */
export class ChatError extends Error {
  override readonly name = "ChatError";
  readonly kind: ChatErrorKind;
  /** Whether asking again later may help. */
  readonly isRetryable: boolean;
  /** How long the server asks to wait, milliseconds; `null` when it does not say. */
  readonly retryAfterMs: number | null;

  constructor(
    message: string,
    kind: ChatErrorKind,
    options: { readonly isRetryable?: boolean; readonly retryAfterMs?: number | null } = {},
  ) {
    super(message.slice(0, MESSAGE_LENGTH));
    this.kind = kind;
    this.isRetryable = options.isRetryable ?? RETRYABLE.includes(kind);
    this.retryAfterMs = options.retryAfterMs ?? null;
  }
}

/** Checks that candidates can be log-probabilities of one distribution. @throws {ChatError} `schema`. */
export function readCandidates(value: unknown): Candidate[] {
  if (!Array.isArray(value) || value.length === 0) {
    throw new ChatError(
      "The reply has no log-probabilities; a server that sends them is needed, such as Ollama 0.12.11",
      "schema",
    );
  }
  const candidates = value.map((candidate) => {
    const { token, logprob } = toRecord(candidate);
    if (typeof token !== "string" || typeof logprob !== "number" || Number.isNaN(logprob)) {
      throw new ChatError("A candidate of the reply has no token or no log-probability", "schema");
    }
    return { token, logprob };
  });
  const mass = candidates.reduce((sum, { logprob }) => sum + Math.exp(logprob), 0);
  if (!(mass <= 1 + MASS_TOLERANCE)) {
    throw new ChatError(`The probabilities of the reply sum to ${mass.toFixed(3)}`, "schema");
  }
  return candidates;
}

/** Sums of probabilities in float32 may exceed 1 by this much. */
const MASS_TOLERANCE = 1e-3;

/** The words of a reply; a reply without any is one of kind `schema`. @throws {ChatError} */
export function readText(value: unknown, finish: unknown): string {
  if (finish === "length") {
    throw new ChatError("The reply was cut at its longest length", "truncated");
  }
  if (typeof value !== "string" || value.trim() === "") {
    throw new ChatError("The reply has no text", "schema");
  }
  return value;
}

/** Token counts where they are such, for a reply. */
export function readUsage(tokensIn: unknown, tokensOut: unknown) {
  return {
    ...(isCount(tokensIn) ? { tokensIn } : {}),
    ...(isCount(tokensOut) ? { tokensOut } : {}),
  };
}

/** What fits a token counter's column. */
function isCount(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 31;
}

/** A value's fields, none where it is no object. */
export function toRecord(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? value as Record<string, unknown> : {};
}

/** What broke, as a {@linkcode ChatError}. */
export function toChatError(error: unknown): ChatError {
  if (error instanceof ChatError) return error;
  if (error instanceof SyntaxError) {
    return new ChatError(`The reply is no JSON: ${error.message}`, "schema");
  }
  return new ChatError(shorten(describeError(error)), "unreachable", {
    isRetryable: !(error instanceof Deno.errors.NotCapable),
  });
}

/** The system's own word for why no connection came about, where the message ends with it. */
function shorten(message: string): string {
  const [, reason] = /tcp connect error: (.+?)(?: \(os error \d+\))?\)?$/.exec(message) ?? [];
  return reason === undefined ? message : reason.toLowerCase();
}
