// Takes out of a Go program what only its stack traces read.
//
// The runtime keeps tables of functions and of their instructions, the
// pclntab. Growing stacks and the garbage collector need some of it; the rest
// is for traces: files and lines, which calls were inlined, where arguments
// are. That rest is a sixth of the engine as a page downloads it. Without it a
// trace still names each function and the offset in it,
//
//	main.(*bridge).start()
//		?:0 +0x7e
//
// and no code is changed, so nothing is slower.
//
// The tables are Go's own business and not documented. cmd/link writes them
// (internal/ld/pcln.go), runtime reads them (_func in runtime2.go, moduledata
// and pcvalue in symtab.go). What is known here is their layout in Go 1.26; it
// is checked function by function, and a program that looks different in any
// way is refused.

/** How the header begins: a magic number, two zeros, the quantum of program counters, the size of pointers. */
const HEADER = Buffer.of(0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8);

/** The header's fields, of 8 bytes: how many functions, and where its parts are, counted from the header. */
const COUNT = 8;
const NAMES = 32;
const UNITS = 40; // the files of each compilation unit
const PC_TABLES = 56;
const FUNCS = 64; // pairs of entry and place in here, 4 bytes each, then _func after _func

/** Where moduledata, which begins with the addresses of header and names, has that from which funcdata counts. */
const MODULE_FUNCDATA = 320;

/** The fields of _func, of 4 bytes if nothing else is said. Behind them are the places of its pcdata, then of its funcdata. */
const NAME = 4;
const PC_SP = 16;
const PC_FILE = 20;
const PC_LINE = 24;
const PCDATA_COUNT = 28;
const UNIT = 32;
const START_LINE = 36;
const FUNCDATA_COUNT = 43; // 1 byte
const FUNC_SIZE = 44;

/** What of pcdata and funcdata only traces read (internal/abi/symtab.go). */
const PCDATA_INLINED = 2;
const PCDATA_ARGS_LIVE = 3;
const FUNCDATA_INLINED = 3;
const FUNCDATA_ARGS = 5;
const FUNCDATA_ARGS_LIVE = 6;

const NO_PCDATA = 0;
const NO_FUNCDATA = 0xffffffff;

/** An inlined call, of which a table has one for each value of PCDATA_INLINED. */
const INLINED_SIZE = 16;

function check(ok, what) {
  if (!ok) throw new Error(`not the pclntab of Go 1.26: ${what}`);
}

/** The only multiple of 8 at which the image has these bytes. */
function find(image, bytes, what) {
  const found = [];
  for (let at = image.indexOf(bytes); at >= 0; at = image.indexOf(bytes, at + 1)) if (at % 8 === 0) found.push(at);
  check(found.length === 1, `${found.length} places for ${what}`);
  return found[0];
}

function words(...values) {
  return Buffer.from(BigUint64Array.from(values, BigInt).buffer);
}

/**
 * Reads a table of values by program counter: pairs of varints, what is added to the value and how far it holds. An
 * addition of 0 is the end, if it is not the first.
 */
function readTable(tables, from) {
  let at = from;
  const varint = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      check(at < tables.length && shift < 35, 'a table without an end');
      const byte = tables[at++];
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
  };
  let value = -1;
  let largest = value;
  for (;;) {
    const zigzag = varint();
    if (zigzag === 0 && at > from + 1) return { bytes: Buffer.from(tables.subarray(from, at)), largest };
    value += zigzag & 1 ? ~(zigzag >>> 1) : zigzag >>> 1;
    largest = Math.max(largest, value);
    varint();
  }
}

/**
 * Strips a program.
 *
 * @param {Buffer} image its memory from address 0 on, which is changed
 */
export function strip(image) {
  const header = find(image, HEADER, 'the header');
  const field = (at) => Number(image.readBigUInt64LE(at));
  const [names, units, tablesAt, funcs] = [NAMES, UNITS, PC_TABLES, FUNCS].map((at) => header + field(header + at));
  check(names < units && units < tablesAt && tablesAt < funcs && funcs < image.length, 'the order of its parts');
  const funcData = field(find(image, words(header, names), 'moduledata') + MODULE_FUNCDATA);
  check(funcData < image.length, 'the place of funcdata');
  const tables = image.subarray(tablesAt, funcs);
  const count = field(header + COUNT);

  const keptNames = Buffer.alloc(units - names);
  const keptTables = new Map();
  const keptFuncData = new Set();
  const inlined = new Map();
  let end = funcs + 8 * count + 4;
  for (let i = 0; i < count; i++) {
    const func = funcs + image.readUInt32LE(funcs + 8 * i + 4);
    check(func >= end && func < end + 8, 'the place of a function');
    const pcData = Array.from({ length: image.readUInt32LE(func + PCDATA_COUNT) }, (_, j) => func + FUNC_SIZE + 4 * j);
    const data = Array.from({ length: image[func + FUNCDATA_COUNT] }, (_, j) => func + FUNC_SIZE + 4 * (pcData.length + j));
    end = func + FUNC_SIZE + 4 * (pcData.length + data.length);

    const name = names + image.readUInt32LE(func + NAME);
    const nameEnd = image.indexOf(0, name);
    check(nameEnd < units && image[name - 1] === 0, 'the place of a name');
    image.copy(keptNames, name - names, name, nameEnd);

    const tree = data[FUNCDATA_INLINED];
    if (tree && image.readUInt32LE(tree) !== NO_FUNCDATA) {
      check(pcData.length > PCDATA_INLINED, 'inlined calls without a table');
      const { largest } = readTable(tables, image.readUInt32LE(pcData[PCDATA_INLINED]));
      inlined.set(image.readUInt32LE(tree), (largest + 1) * INLINED_SIZE);
    }
    for (const at of [PC_FILE, PC_LINE, UNIT, START_LINE]) image.writeUInt32LE(0, func + at);
    for (const j of [PCDATA_INLINED, PCDATA_ARGS_LIVE]) if (j < pcData.length) image.writeUInt32LE(NO_PCDATA, pcData[j]);
    for (const j of [FUNCDATA_INLINED, FUNCDATA_ARGS, FUNCDATA_ARGS_LIVE]) if (j < data.length) image.writeUInt32LE(NO_FUNCDATA, data[j]);

    for (const place of data) keptFuncData.add(image.readUInt32LE(place));
    for (const place of [func + PC_SP, ...pcData]) {
      const table = image.readUInt32LE(place);
      if (table === NO_PCDATA) continue;
      if (!keptTables.has(table)) keptTables.set(table, { bytes: readTable(tables, table).bytes, places: [] });
      keptTables.get(table).places.push(place);
    }
  }

  keptNames.copy(image, names);
  image.fill(0, units, funcs);
  let at = NO_PCDATA + 1;
  for (const { bytes, places } of keptTables.values()) {
    tables.set(bytes, at);
    for (const place of places) image.writeUInt32LE(at, place);
    at += bytes.length;
  }
  // The linker keeps equal data once, whatever it is.
  for (const [place, size] of inlined) if (!keptFuncData.has(place)) image.fill(0, funcData + place, funcData + place + size);
}
