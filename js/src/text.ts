// UTF-8, in the three ways the package needs it: straight into a buffer, into an array of its own, and back.

const encoder = new TextEncoder();
const strictDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const lossyDecoder = new TextDecoder('utf-8', { ignoreBOM: true });

type WellFormed = { isWellFormed?: () => boolean };

/** Whether `text` has no lone surrogates, and so survives UTF-8. */
export function isWellFormed(text: string): boolean {
  const native = (text as WellFormed).isWellFormed;
  return native === undefined ? !/\p{Surrogate}/u.test(text) : native.call(text);
}

/** The UTF-8 bytes of `text`; lone surrogates become U+FFFD. */
export function encodeText(text: string): Uint8Array {
  return encoder.encode(text);
}

/** Writes the UTF-8 bytes of `text` at `at`, where there must be room for three bytes a character, and returns their count. */
export function encodeTextInto(text: string, bytes: Uint8Array, at: number): number {
  return encoder.encodeInto(text, bytes.subarray(at)).written;
}

/** Strings up to this many bytes are decoded here: calling a TextDecoder costs more than they do. */
const SHORT_BYTES = 24;

const fromCharCode = String.fromCharCode;

/** Decodes UTF-8. Throws a `TypeError` where the bytes are none. */
export function decodeText(bytes: Uint8Array, start: number, end: number): string {
  if (end - start <= SHORT_BYTES) {
    let text = '';
    let at = start;
    for (; at + 4 <= end; at += 4) {
      const a = bytes[at]!;
      const b = bytes[at + 1]!;
      const c = bytes[at + 2]!;
      const d = bytes[at + 3]!;
      if ((a | b | c | d) >= 0x80) return strictDecoder.decode(bytes.subarray(start, end));
      text += fromCharCode(a, b, c, d);
    }
    for (; at < end; at++) {
      const a = bytes[at]!;
      if (a >= 0x80) return strictDecoder.decode(bytes.subarray(start, end));
      text += fromCharCode(a);
    }
    return text;
  }
  return strictDecoder.decode(bytes.subarray(start, end));
}

/** Decodes what should be UTF-8, for messages: broken parts become U+FFFD. */
export function decodeLossyText(bytes: Uint8Array): string {
  return lossyDecoder.decode(bytes);
}
