#!/usr/bin/env node
/**
 * Starts the command line. In a checkout it runs the TypeScript sources, so there is nothing to build; in the package it
 * runs their build. A Node that is too old hands over to the one that the checkout brings, if there is one. Plain
 * JavaScript, and old syntax only: it must start under any Node to say which Node it needs.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import module from 'node:module';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';

const NEEDED = [22, 18];
const TOO_OLD_EXIT_CODE = 5;
const USAGE_EXIT_CODE = 2;

const own = process.versions.node.split('.').map(Number);
const newEnough = own[0] > NEEDED[0] || (own[0] === NEEDED[0] && own[1] >= NEEDED[1]);
const brought = fileURLToPath(new URL('../node_modules/node/bin/node', import.meta.url));

if (newEnough) {
  const source = new URL('../src/cli/main.ts', import.meta.url);
  const build = new URL('../dist/src/cli/main.js', import.meta.url);
  const isCheckout = existsSync(source);
  // Stripping the types of a hundred files takes longer than most commands do.
  if (isCheckout)
    module.enableCompileCache?.(fileURLToPath(new URL('../node_modules/.cache/netseal', import.meta.url)));
  const { main } = await import(isCheckout ? source.href : build.href);
  await main(process.argv.slice(2));
} else if (existsSync(brought)) {
  refuseLostBytes();
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
