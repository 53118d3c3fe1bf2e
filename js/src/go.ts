// A Go program's surroundings: what the glue of the Go runtime expects of the global object, without touching the real one.

import { loadGo, type Go } from 'go-runtime';

/** What Go prints is kept to this many characters: enough for a panic and its first stack. */
const MOST_OUTPUT = 16 << 10;

/** Runs something that enters the program, from a timer of its own. */
export type Enter = (run: () => void) => void;

export interface GoProgram {
  readonly go: Go;
  /** What the program printed last; a panic prints its text and stack. */
  output(): string;
}

/**
 * A Go program that is yet to be run.
 *
 * @param enter - Is given what a timer of the Go runtime wants to run, so that entering the program is one thing, wherever it comes from.
 */
export function createGo(enter: Enter): GoProgram {
  const decoder = new TextDecoder();
  let output = '';
  const unavailable = (callback: (error: Error) => void) => {
    callback(Object.assign(new Error('not implemented'), { code: 'ENOSYS' }));
  };
  const scope: Record<string, unknown> = {
    Object,
    Array,
    Uint8Array,
    Date,
    Error,
    Promise,
    crypto,
    performance,
    TextEncoder,
    TextDecoder,
    console: { log: print, warn: print },
    setTimeout: (run: () => void, millis: number) => setTimeout(() => enter(run), millis),
    clearTimeout: (timer: number) => clearTimeout(timer),
    fs: {
      constants: { O_WRONLY: -1, O_RDWR: -1, O_CREAT: -1, O_TRUNC: -1, O_APPEND: -1, O_EXCL: -1, O_DIRECTORY: -1 },
      writeSync(_fd: number, bytes: Uint8Array): number {
        print(decoder.decode(bytes, { stream: true }));
        return bytes.length;
      },
      write(_fd: number, _bytes: Uint8Array, _at: number, _size: number, _position: null, callback: (error: Error) => void): void {
        unavailable(callback);
      },
    },
  };

  function print(...parts: unknown[]): void {
    if (output.length < MOST_OUTPUT) output = (output + parts.join(' ')).slice(0, MOST_OUTPUT);
  }

  const go = new (loadGo(scope))();
  go.exit = () => undefined;
  return { go, output: () => output.trim() };
}
