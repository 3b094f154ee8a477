/**
 * The frames of a journal as bytes: length and CRC-32 of the payload (4 bytes each, little-endian), a
 * sequence number (8 bytes), the payload.
 *
 * @module
 */
import { crc32 } from "node:zlib";

/** Bytes before the payload of a frame. */
export const FRAME_HEADER = 16;

/** A frame as it was found. */
export interface Frame {
  readonly sequence: number;
  readonly payload: Uint8Array;
}

/** Gives the bytes of a frame. */
export function encodeFrame(sequence: number, payload: Uint8Array): Uint8Array {
  const frame = new Uint8Array(FRAME_HEADER + payload.length);
  const view = new DataView(frame.buffer);
  view.setUint32(0, payload.length, true);
  view.setUint32(4, crc32(payload), true);
  view.setBigUint64(8, BigInt(sequence), true);
  frame.set(payload, FRAME_HEADER);
  return frame;
}

/** Gives the frames of a file up to the first that is not whole; `damage` says where more than an end is. */
export function readFrames(bytes: Uint8Array): { frames: Frame[]; damage: string | null } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const frames: Frame[] = [];
  let at = 0;
  while (at + FRAME_HEADER <= bytes.length) {
    const length = view.getUint32(at, true);
    const end = at + FRAME_HEADER + length;
    if (end > bytes.length) break;
    const payload = bytes.subarray(at + FRAME_HEADER, end);
    if (length === 0 || crc32(payload) !== view.getUint32(at + 4, true)) {
      // A write that a power failure has cut leaves a last frame of wrong bytes, or zeros.
      const isTail = end === bytes.length || bytes.subarray(at).every((byte) => byte === 0);
      return { frames, damage: isTail ? null : `frame at byte ${at} is not what was written` };
    }
    frames.push({ sequence: Number(view.getBigUint64(at + 8, true)), payload });
    at = end;
  }
  return { frames, damage: null };
}
