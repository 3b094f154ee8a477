/** Sentences that speak to their reader, in what a model is shown and in what it writes. */
import { hasInstructions } from "../prompts/data.ts";

/** Addresses, tags and anything else that is more than words. */
const MARKUP =
  /https?:|www\.|mailto:|\S@\S|\]\(|[<>‹›{}\\]|\b[\w-]+\.(?:com|org|net|io|dev|ai|app|co|me|ly|gg|sh|exe|py|js|ts)\b/i;

/** What a report has no need of, and advice cannot do without. */
const ADDRESSING =
  /\b(?:you|your|yours|yourself|yourselves|please|i|we|us|let's|should|shall|must|ought|need to|needs to|have to|has to|recommend\w*|advis\w+|make sure|be sure)\b/i;

/** Verbs that begin an order. */
const IMPERATIVE =
  /^\W*(?:(?:then|now|also|next|first|finally|and|so)\b\W*)?(?:add|approve|ask|avoid|call|check|choose|click|consider|contact|copy|delete|deploy|disable|do|don't|download|enable|ensure|execute|fix|follow|go|ignore|increase|inspect|install|investigate|keep|look|monitor|open|paste|promote|raise|read|reduce|remember|remove|replace|restart|retrain|review|rollback|roll|run|see|send|set|silence|start|stop|switch|take|tell|treat|try|turn|type|update|use|verify|visit|wait|write)\b/i;

/** What no finding of an alert or description of a model has a need of, but an order to its reader. */
const STEERING =
  /\b(?:ignor\w*|disregard\w*|forget\w*|overrid\w*|pretend\w*|instead|write|writes|say|says|tell|tells|mention\w*|claim\w*|answer\w*|respond\w*|reply|replies|summar\w+|facts?|sentences?|prompts?|instruct\w*|reader)\b/i;

const LINK = /https?:|www\.|\]\(/i;

/** Whether a text has addresses, tags and anything else that is more than words. */
export function hasMarkup(text: string): boolean {
  return MARKUP.test(text);
}

/**
 * Whether a sentence gives advice or orders, or speaks to somebody.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { isAddressed } from "./speech.ts";
 *
 * assertEquals(isAddressed("Retrain the model."), true);
 * assertEquals(isAddressed("The model was retrained."), false);
 * ```
 */
export function isAddressed(sentence: string): boolean {
  return ADDRESSING.test(sentence) || IMPERATIVE.test(sentence) || hasInstructions(sentence);
}

/** Whether somebody's words could steer a model that writes about them. */
export function isSteering(words: string): boolean {
  return LINK.test(words) || STEERING.test(words) || words.split(/[.!?;:\n]+/).some(isAddressed) ||
    hasInstructions(words);
}
