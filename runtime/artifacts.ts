/** Content-addressed bytes in the store: the name of an artifact is the sha256 of its content. */
import type { Step, Store } from "./store/store.ts";

/** Hex sha256 of bytes or text. */
export async function sha256(content: Uint8Array | string): Promise<string> {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as BufferSource)).toHex();
}

/** The step that stores `content`, and its address; the same bytes are stored once. */
export async function artifactStep(
  content: Uint8Array,
  mediaType: string,
): Promise<{ readonly sha256: string; readonly step: Step }> {
  const address = await sha256(content);
  return {
    sha256: address,
    step: {
      sql: "insert or ignore into core.artifacts values (?, ?, ?, ?, ?)",
      params: [address, mediaType, content.length, content, new Date()],
    },
  };
}

/**
 * Reads the artifact at `address` and checks its hash.
 * @throws {Error} when it is missing or a byte has changed.
 */
export async function readArtifact(store: Store, address: string): Promise<Uint8Array> {
  const [row] = await store.query<{ content: Uint8Array }>(
    "select content from core.artifacts where sha256 = ?",
    [address],
  );
  if (!row) throw new Error(`Cannot read artifact "${address}": the store has none of this hash`);
  // A held store gives a Buffer, a borrowed one a plain array.
  const content = new Uint8Array(row.content);
  const found = await sha256(content);
  if (found !== address) {
    throw new Error(
      `Cannot read artifact "${address}": its content now hashes to ${found}; restore it from a backup`,
    );
  }
  return content;
}
