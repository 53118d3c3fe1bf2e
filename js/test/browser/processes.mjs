// Processes as Linux lists them: to end a browser with all that it started, and to see that nothing of it is left.

import { readdirSync, readFileSync } from 'node:fs';

function read(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    // It has ended in the meantime.
    return '';
  }
}

/** Every process: its id, that of its parent and of its group, and its arguments. Those that only wait to be reaped are left out. */
function all() {
  const processes = [];
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const stat = read(`/proc/${entry}/stat`);
    // The name of the program, in brackets, may hold anything.
    const [state, parent, group] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (state === undefined || state === '' || state === 'Z') continue;
    const args = read(`/proc/${entry}/cmdline`).split('\0');
    processes.push({ id: Number(entry), parent: Number(parent), group: Number(group), args });
  }
  return processes;
}

/** The ids of `root`, of the processes it led to, of those in its group, and of those that were given `argument`, which is one of its own. */
export function familyOf(root, argument) {
  const family = new Set([root]);
  const processes = all();
  for (let size = 0; size < family.size; ) {
    size = family.size;
    for (const { id, parent, group, args } of processes) {
      if (family.has(parent) || group === root || args.includes(argument)) family.add(id);
    }
  }
  const alive = new Set(processes.map(({ id }) => id));
  return [...family].filter((id) => alive.has(id));
}
