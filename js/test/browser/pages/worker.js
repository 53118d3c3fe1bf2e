// A worker with nothing in it: tests put their calls into it.
export {};
