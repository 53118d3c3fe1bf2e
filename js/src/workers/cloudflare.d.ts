// What is used of the platform's module, for our own compiler. Whoever uses the package has the platform's own types:
// https://developers.cloudflare.com/workers/languages/typescript/

declare module 'cloudflare:workers' {
  export interface SqlCursor extends Iterable<Record<string, unknown>> {
    raw(): Iterable<unknown[]>;
    readonly rowsWritten: number;
  }

  export interface DurableObjectState {
    readonly id: { readonly name?: string; toString(): string };
    readonly storage: {
      readonly sql: { exec(query: string, ...bindings: unknown[]): SqlCursor };
      transactionSync<T>(run: () => T): T;
      setAlarm(time: number): Promise<void>;
      deleteAlarm(): Promise<void>;
      deleteAll(): Promise<void>;
    };
    blockConcurrencyWhile<T>(run: () => Promise<T>): Promise<T>;
    abort(reason?: string): void;
  }

  export abstract class DurableObject<Env = unknown> {
    protected readonly ctx: DurableObjectState;
    protected readonly env: Env;
    constructor(ctx: DurableObjectState, env: Env);
    alarm?(): Promise<void>;
  }

  /** An object that stays where it is: whoever it is handed to gets a stub of it. */
  export abstract class RpcTarget {}
}

declare module '*.wasm' {
  const module: WebAssembly.Module;
  export default module;
}

/** Passes on exactly so many bytes, and says how many to whoever takes them. */
declare class FixedLengthStream extends TransformStream<Uint8Array, Uint8Array> {
  constructor(size: number);
}
