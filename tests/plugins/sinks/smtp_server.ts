/** A small SMTP server on loopback at the far end of a sink. @see RFC 5321 */
import { Buffer } from "node:buffer";

/** One mail as it came. */
export interface Mail {
  readonly from: string;
  readonly to: readonly string[];
  readonly headers: Readonly<Record<string, string>>;
  /** Decoded text. */
  readonly text: string;
}

/** Listens until it is disposed of. */
export interface SmtpServer extends AsyncDisposable {
  readonly url: string;
  readonly mails: readonly Mail[];
}

/** Opens a server; `answer` may give another reply to a command than the usual one, or none. */
export function openSmtpServer(
  answer: (command: string) => string | null | undefined = () => undefined,
): SmtpServer {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const mails: Mail[] = [];
  const open = new Set<Deno.Conn>();
  const work = (async () => {
    const talks: Promise<void>[] = [];
    for await (const connection of listener) {
      open.add(connection);
      talks.push(talk(connection, { answer, mails }).finally(() => open.delete(connection)));
    }
    await Promise.all(talks);
  })();
  return {
    url: `smtp://127.0.0.1:${(listener.addr as Deno.NetAddr).port}`,
    mails,
    async [Symbol.asyncDispose]() {
      listener.close();
      for (const connection of open) connection.close();
      await work;
    },
  };
}

async function talk(
  connection: Deno.Conn,
  { answer, mails }: {
    readonly answer: (command: string) => string | null | undefined;
    readonly mails: Mail[];
  },
): Promise<void> {
  const say = (line: string) => connection.write(new TextEncoder().encode(`${line}\r\n`));
  const usual: Readonly<Record<string, string>> = {
    EHLO: "250 here",
    HELO: "250 here",
    DATA: "354 go on",
    QUIT: "221 bye",
    STARTTLS: "502 not here",
  };
  let from = "";
  let to: string[] = [];
  let data: string[] | null = null;
  try {
    await say("220 here");
    for await (const line of readLines(connection)) {
      if (data !== null) {
        if (line !== ".") {
          data.push(line.replace(/^\./, ""));
          continue;
        }
        const reply = answer(".") ?? "250 taken";
        if (reply.startsWith("250")) mails.push(parseMail(data, { from, to }));
        data = null;
        await say(reply);
        continue;
      }
      const [command] = line.toUpperCase().split(/[ :]/);
      const reply = answer(command);
      if (reply === null) continue;
      const address = /<(.*?)>/.exec(line)?.[1] ?? "";
      if (command === "MAIL") [from, to] = [address, []];
      if (command === "RCPT") to.push(address);
      if (command === "DATA" && reply === undefined) data = [];
      await say(reply ?? usual[command] ?? "250 fine");
      if (command === "QUIT") break;
    }
  } catch (error) {
    if (!isGone(error)) throw error;
  } finally {
    try {
      connection.close();
    } catch {
      // Closed already.
    }
  }
}

function isGone(error: unknown): boolean {
  return error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted ||
    error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BrokenPipe;
}

async function* readLines(connection: Deno.Conn): AsyncGenerator<string> {
  const buffer = new Uint8Array(4_096);
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const size = await connection.read(buffer);
    if (size === null) return;
    rest += decoder.decode(buffer.subarray(0, size), { stream: true });
    const lines = rest.split("\r\n");
    rest = lines.pop()!;
    yield* lines;
  }
}

function parseMail(lines: readonly string[], envelope: Pick<Mail, "from" | "to">): Mail {
  const end = lines.indexOf("");
  const headers = Object.fromEntries(
    lines.slice(0, end).join("\n").replace(/\n\s+/g, " ").split("\n").map((line) => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon).toLowerCase(), decodeWords(line.slice(colon + 1).trim())];
    }),
  );
  const body = lines.slice(end + 1).join("\n");
  const text = decode(body, headers["content-transfer-encoding"]);
  return { ...envelope, headers, text };
}

function decode(body: string, encoding: string): string {
  if (encoding === "base64") return Buffer.from(body, "base64").toString();
  return encoding === "quoted-printable" ? decodeQuoted(body.replace(/=\n/g, "")) : body;
}

function decodeQuoted(text: string): string {
  return Buffer.from(
    text.replace(/=([0-9A-F]{2})/g, (_, hex) => String.fromCharCode(parseInt(hex, 16))),
    "latin1",
  ).toString();
}

/** Words of a header that are not ASCII. @see RFC 2047 */
function decodeWords(text: string): string {
  return text.replace(/\?=\s+=\?/g, "?==?").replace(
    /=\?utf-8\?([bq])\?(.*?)\?=/gi,
    (_, form: string, word: string) =>
      form.toLowerCase() === "b"
        ? Buffer.from(word, "base64").toString()
        : decodeQuoted(word.replaceAll("_", " ")),
  );
}
