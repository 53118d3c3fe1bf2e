/** A synchronous device behind a turn of the event loop, as a host's asynchronous storage is. */
export class AsyncMemoryDevice {
  async = true;
  #device;

  constructor(device) {
    this.#device = device;
  }

  async read(into, offset) {
    await turn();
    return this.#device.read(into, offset);
  }

  async write(from, offset) {
    await turn();
    return this.#device.write(from, offset);
  }

  async sync() {
    await turn();
    this.#device.sync();
  }

  async size() {
    await turn();
    return this.#device.size();
  }

  async truncate(size) {
    await turn();
    this.#device.truncate(size);
  }
}

const turn = () => new Promise((resolve) => setImmediate(resolve));
