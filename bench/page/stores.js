// The stores, all behind the same few calls. Keys are strings, values are Uint8Arrays, and everything else is each store's default.
//
//   put, get              one row
//   setMany, getMany      many rows, in one transaction or batch
//   range                 the first `count` rows from `key` on, as [key, value]
//   scan                  all rows, as an array of [key, value]
//   each                  all rows, one at a time; returns how many
//   close, destroy
//
// A store that has no way to do a thing has no such call.

const OBJECT_STORE = 'rows';

function settled(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function completed(transaction) {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error);
  });
}

function deleteDatabase(name) {
  return settled(indexedDB.deleteDatabase(name));
}

/** IndexedDB as one writes it by hand for speed: relaxed durability said aloud, `commit` where no request can follow, no cursor where an array will do. */
class IndexedDb {
  static async open(name) {
    const request = indexedDB.open(name);
    request.onupgradeneeded = () => request.result.createObjectStore(OBJECT_STORE);
    return new IndexedDb(name, await settled(request));
  }

  constructor(name, db) {
    this.name = name;
    this.db = db;
  }

  put(key, value) {
    const transaction = this.db.transaction(OBJECT_STORE, 'readwrite', { durability: 'relaxed' });
    transaction.objectStore(OBJECT_STORE).put(value, key);
    transaction.commit();
    return completed(transaction);
  }

  get(key) {
    return settled(this.#read().get(key));
  }

  setMany(entries) {
    const transaction = this.db.transaction(OBJECT_STORE, 'readwrite', { durability: 'relaxed' });
    const store = transaction.objectStore(OBJECT_STORE);
    for (const [key, value] of entries) store.put(value, key);
    transaction.commit();
    return completed(transaction);
  }

  getMany(keys) {
    const store = this.#read();
    return Promise.all(keys.map((key) => settled(store.get(key))));
  }

  range(key, count) {
    return this.#records(IDBKeyRange.lowerBound(key), count);
  }

  scan() {
    return this.#records(null);
  }

  async #records(query, count) {
    const store = this.#read();
    if (typeof store.getAllRecords === 'function') {
      const records = await settled(store.getAllRecords({ query, count }));
      return records.map((record) => [record.key, record.value]);
    }
    const [keys, values] = await Promise.all([settled(store.getAllKeys(query, count)), settled(store.getAll(query, count))]);
    return keys.map((key, i) => [key, values[i]]);
  }

  each(visit) {
    return new Promise((resolve, reject) => {
      const request = this.#read().openCursor();
      let count = 0;
      request.onerror = () => reject(request.error);
      request.onsuccess = () => {
        const cursor = request.result;
        if (cursor === null) return resolve(count);
        count++;
        visit(cursor.key, cursor.value);
        cursor.continue();
      };
    });
  }

  #read() {
    return this.db.transaction(OBJECT_STORE, 'readonly').objectStore(OBJECT_STORE);
  }

  async close() {
    this.db.close();
  }

  async destroy() {
    this.db.close();
    await deleteDatabase(this.name);
  }
}

class IdbKeyval {
  static async open(name) {
    const api = await import('/idb-keyval/index.js');
    return new IdbKeyval(name, api, api.createStore(name, OBJECT_STORE));
  }

  constructor(name, api, store) {
    this.name = name;
    this.api = api;
    this.store = store;
  }

  put(key, value) {
    return this.api.set(key, value, this.store);
  }

  get(key) {
    return this.api.get(key, this.store);
  }

  setMany(entries) {
    return this.api.setMany(entries, this.store);
  }

  getMany(keys) {
    return this.api.getMany(keys, this.store);
  }

  scan() {
    return this.api.entries(this.store);
  }

  // It has no call for this, but hands out its object store.
  async close() {
    await this.store('readonly', (store) => store.transaction.db.close());
  }

  async destroy() {
    await this.close();
    await deleteDatabase(this.name);
  }
}

class Tempest {
  static async open(name, options) {
    const { open } = await import('/tempestkv/index.js');
    return new Tempest(await open(name, options));
  }

  constructor(db) {
    this.db = db;
  }

  put(key, value) {
    return this.db.put(key, value);
  }

  get(key) {
    return this.db.get(key);
  }

  setMany(entries) {
    return this.db.batch(entries.map(([key, value]) => ({ type: 'put', key, value })));
  }

  getMany(keys) {
    return this.db.getMany(keys);
  }

  range(key, count) {
    return this.db.scan({ gte: key, limit: count }).toArray();
  }

  scan() {
    return this.db.scan().toArray();
  }

  async each(visit) {
    let count = 0;
    for await (const [key, value] of this.db.scan()) {
      count++;
      visit(key, value);
    }
    return count;
  }

  close() {
    return this.db.close();
  }

  destroy() {
    return this.db.destroy();
  }
}

const kinds = { indexeddb: IndexedDb, 'idb-keyval': IdbKeyval, tempestkv: Tempest };

/** Opens a store of a kind; `options` are for the package's own. */
export function openStore(kind, name, options) {
  return kinds[kind].open(name, options);
}
