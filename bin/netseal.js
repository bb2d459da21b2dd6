#!/usr/bin/env node
/**
 * Starts the command line. In a checkout it runs the TypeScript sources, so there is nothing to build; in the package it
 * runs their build. Either way Node keeps the compiled code for the next start. A Node that is too old hands over to the one that the checkout brings, if there is one. Plain
 * JavaScript, and old syntax only: it must start under any Node to say which Node it needs.
 */

// An import would read all that these modules have, and so load more of Node. Old Nodes have no other way.
const take = async name => process.getBuiltinModule?.(name) ?? (await import(name));
const { existsSync, lstatSync, mkdirSync, realpathSync } = await take('node:fs');
const { enableCompileCache } = await take('node:module');
const { constants, homedir } = await take('node:os');
const { dirname, isAbsolute } = await take('node:path');
const { fileURLToPath } = await take('node:url');

const NEEDED = [22, 18];
const TOO_OLD_EXIT_CODE = 5;
const USAGE_EXIT_CODE = 2;

const own = process.versions.node.split('.').map(Number);
const newEnough = own[0] > NEEDED[0] || (own[0] === NEEDED[0] && own[1] >= NEEDED[1]);
const brought = fileURLToPath(new URL('../node_modules/node/bin/node', import.meta.url));

if (newEnough) {
  const source = new URL('../src/cli/main.ts', import.meta.url);
  const build = new URL('../dist/cli.js', import.meta.url);
  const isCheckout = existsSync(source);
  // Stripping the types of a hundred files takes longer than most commands do.
  const cache = isCheckout
    ? fileURLToPath(new URL('../node_modules/.cache/netseal', import.meta.url))
    : ownCacheFolder();
  if (cache !== undefined) enableCompileCache?.(cache);
  const { main } = await import(isCheckout ? source.href : build.href);
  await main(process.argv.slice(2));
} else if (existsSync(brought)) {
  refuseLostBytes();
  const { spawn } = await import('node:child_process');
  const child = spawn(brought, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
    stdio: 'inherit',
  });
  // A terminal sends Ctrl-C to both; what is sent to this process alone is passed on.
  process.on('SIGINT', () => undefined);
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('exit', (code, signal) => {
    process.exitCode = signal === null ? code : 128 + constants.signals[signal];
  });
} else {
  process.stderr.write(
    `netseal: needs Node ${NEEDED.join('.')} or later, and this is ${process.version}: install a newer Node\n`,
  );
  process.exitCode = TOO_OLD_EXIT_CODE;
}

/**
 * Returns this user's folder for compiled code, and makes it. Node runs what it finds there without asking where it comes
 * from. So nobody else may be able to put anything there: the folder and all that it lies in belong to this user or to
 * root, and nobody else may write to them. Undefined where there is no such folder: Node then compiles at every start.
 */
function ownCacheFolder() {
  // Chosen by whoever runs this.
  if (process.env.NODE_COMPILE_CACHE || process.env.NODE_DISABLE_COMPILE_CACHE === '1') return undefined;
  try {
    const folder = `${cacheHome()}/netseal`;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    // Windows protects a user's local data by access lists, and has no modes.
    if (process.platform === 'win32') return folder;
    const real = realpathSync(folder);
    for (let path = real; ; path = dirname(path)) {
      const { uid, mode } = lstatSync(path);
      if ((uid !== process.geteuid() && uid !== 0) || (mode & 0o022) !== 0) return undefined;
      if (path === dirname(path)) return real;
    }
  } catch {
    return undefined;
  }
}

/** Returns the folder that this system has for what programs can make again. */
function cacheHome() {
  const { XDG_CACHE_HOME, LOCALAPPDATA } = process.env;
  if (process.platform === 'win32') return LOCALAPPDATA || `${homedir()}/AppData/Local`;
  if (XDG_CACHE_HOME && isAbsolute(XDG_CACHE_HOME)) return XDG_CACHE_HOME;
  return process.platform === 'darwin' ? `${homedir()}/Library/Caches` : `${homedir()}/.cache`;
}

/**
 * What is not UTF-8 has become U+FFFD by now, and the other Node could not tell: different names and passphrases would be the
 * same to it.
 */
function refuseLostBytes() {
  const given = process.argv.slice(2);
  for (const name of Object.keys(process.env))
    if (/^(NETSEAL_|XDG_STATE_HOME$|HOME$)/.test(name)) given.push(process.env[name]);
  if (!given.some(text => text.includes('\ufffd'))) return;
  process.stderr.write(
    'netseal: arguments and environment must be UTF-8, without U+FFFD under this Node; write other bytes as \\xNN, and add --escaped (EINVAL)\n',
  );
  process.exit(USAGE_EXIT_CODE);
}
