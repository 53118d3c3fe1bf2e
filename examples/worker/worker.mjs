// All there is of code: the class of the objects, and the router, which is the Worker itself.

export { TempestObject } from '../../js/dist/workers.js';
export { default } from '../../build/router/router.mjs';
