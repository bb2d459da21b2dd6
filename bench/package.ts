/** The package as it is installed: what is measured, and what tests run as processes. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const ROOT: string = fileURLToPath(new URL('..', import.meta.url));
/** Where `.ci/build.mjs --local` puts the package as it is installed. Only {@link builtPackage} builds it. */
export const PACKAGE: string = `${ROOT}node_modules/.cache/netseal-package/`;
let isBuilt = false;

/** Builds the package, once, unless the last build is of the same sources. Returns its folder. */
export function builtPackage(): string {
  if (!isBuilt) execFileSync(process.execPath, [`${ROOT}.ci/build.mjs`, '--local'], { stdio: 'inherit' });
  isBuilt = true;
  return PACKAGE;
}

/**
 * Returns the script of a measured program. It is bundled, as the package is: the sources take some 35 MiB
 * more, and 10 MiB more for each worker.
 *
 * @param name of a file in `bench/`, without its extension.
 */
export function scriptFor(name: string): string {
  return `${builtPackage()}dist/${name}.js`;
}

/** Returns the script of `netseal` as it is installed. */
export function commandScript(): string {
  return `${builtPackage()}bin/netseal.js`;
}

/** Returns the environment of a command: Node's cache of compiled code is not the user's. */
export function commandEnvironment(): NodeJS.ProcessEnv {
  return { ...process.env, XDG_CACHE_HOME: `${PACKAGE}cache` };
}
