/** `GET /docs`: the OpenAPI document as a page. */
import { type ApiDocument, docsPolicy, renderDocs } from "../docs_page.ts";
import type { Handler } from "../exchange.ts";

/** Gives the handler; `describe` gives the document as it is now. */
export function docs(describe: () => unknown): Handler {
  return ({ request }) => ({
    status: 200,
    body: renderDocs(describe() as ApiDocument, new URL(request.url).origin),
    headers: {
      "content-type": "text/html; charset=utf-8",
      "content-security-policy": docsPolicy,
    },
  });
}
