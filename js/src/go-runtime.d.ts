// The Go runtime's glue (lib/wasm/wasm_exec.js of the Go tree), which build.mjs wraps: see there.

declare module 'go-runtime' {
  export interface Go {
    readonly importObject: { readonly gojs: WebAssembly.ModuleImports };
    /** The program has ended. */
    readonly exited?: boolean;
    exit: (code: number) => void;
    run(instance: WebAssembly.Instance): Promise<void>;
  }

  /** Evaluates the glue with `scope` in the place of `globalThis`, and returns its class. */
  export function loadGo(scope: object): new () => Go;
}
