/**
 * Completes package-lock.json: `node .ci/complete-lock.mjs`, after every `npm install` that changed it.
 *
 * npm leaves out of the lock file what its registry did not have when the file was made. A registry that carries only
 * some platforms' binaries (a mirror, say) therefore makes a file that `npm ci` refuses, everywhere. This adds the optional
 * packages that are named but not locked, with the platform that their names tell, so that `npm ci` passes over them here
 * and fetches them where they belong.
 */
import { readFileSync, writeFileSync } from 'node:fs';

const path = new URL('../package-lock.json', import.meta.url);
const lock = JSON.parse(readFileSync(path, 'utf8'));
const systems = [
  'aix',
  'android',
  'darwin',
  'freebsd',
  'linux',
  'netbsd',
  'openbsd',
  'openharmony',
  'sunos',
  'win32',
];
const processors = [
  'arm64',
  'arm',
  'ia32',
  'loong64',
  'mips64el',
  'ppc64',
  'riscv64',
  's390x',
  'wasm32',
  'x64',
];

/** The package's platform, from the words of its name: `@biomejs/cli-linux-x64-musl`. */
function platformOf(name) {
  const words = name.replace(/^.*\//, '').split('-');
  const os = systems.filter(system => words.includes(system));
  const cpu = processors.filter(processor => words.includes(processor));
  const libc = words.some(word => word.startsWith('musl'))
    ? ['musl']
    : words.some(word => word.startsWith('gnu'))
      ? ['glibc']
      : [];
  return { ...(os.length > 0 && { os }), ...(cpu.length > 0 && { cpu }), ...(libc.length > 0 && { libc }) };
}

let added = 0;
for (const owner of Object.values(lock.packages)) {
  for (const [name, version] of Object.entries(owner.optionalDependencies ?? {})) {
    const key = `node_modules/${name}`;
    if (key in lock.packages) continue;
    const platform = platformOf(name);
    if (Object.keys(platform).length === 0) {
      console.error(`${name} is not locked, and its name tells no platform: install it by hand`);
      process.exitCode = 1;
      continue;
    }
    lock.packages[key] = {
      version,
      ...(owner.dev && { dev: true }),
      license: owner.license,
      optional: true,
      ...platform,
    };
    added += 1;
  }
}
lock.packages = Object.fromEntries(
  Object.entries(lock.packages).sort(([left], [right]) => (left < right ? -1 : 1)),
);
writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n`);
console.log(`${added} platform packages added`);
