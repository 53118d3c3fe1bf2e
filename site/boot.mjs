// Starts the page's program, which is Go, and hands it the package. Everything else happens in main.go.

/** Says in the page what stopped it from starting; the program has its own, fuller way once it runs. */
function fail(error) {
  console.error(error);
  document.querySelector('#error-title').textContent = 'This page could not start';
  document.querySelector('#error-text').textContent = String(error?.message ?? error);
  document.querySelector('#error-code').textContent = '';
  for (const id of ['retry', 'memory', 'reset']) document.querySelector(`#error-${id}`).hidden = true;
  document.querySelector('#busy').hidden = true;
  document.querySelector('#error').hidden = false;
}

async function fetchProgram(address) {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`${response.url} answered ${response.status}`);
  return WebAssembly.compileStreaming(response);
}

try {
  const [{ open, destroy }, program] = await Promise.all([
    import('./tempestkv/index.js'),
    fetchProgram('./site.wasm'),
    import('./wasm_exec.js'), // puts Go's glue on globalThis
  ]);
  const go = new globalThis.Go();
  const instance = await WebAssembly.instantiate(program, go.importObject);
  globalThis.tempestkv = { open, destroy };
  await go.run(instance);
  throw new Error('Its program ended. Reload the page to start it again; the store is not affected.');
} catch (error) {
  fail(error);
}
