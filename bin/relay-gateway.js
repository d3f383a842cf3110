#!/usr/bin/env node
/**
 * Starts the `relay-gateway` command on a Node.js that is new enough: this one, or the one that is installed with the
 * package. In a checkout it runs the sources, in a built image what was built of them.
 *
 * This file is for any Node.js from version 20, so it stays plain JavaScript.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import module from 'node:module';
import { fileURLToPath } from 'node:url';

const OLDEST_NODE = 26;
const FAULT = 1;

if (Number.parseInt(process.versions.node, 10) >= OLDEST_NODE) {
  endWithLauncher();
  // Compiled code is kept between starts, which halves their time; where nothing can be written, it is not.
  module.enableCompileCache(fileURLToPath(new URL('../node_modules/.cache/relay-gateway', import.meta.url)));
  const source = new URL('../src/cli/main.ts', import.meta.url);
  await import(existsSync(source) ? source.href : new URL('../dist/cli/main.js', import.meta.url).href);
} else {
  launch(fileURLToPath(new URL('../node_modules/node/bin/node', import.meta.url)));
}

/** Runs this file again with another Node.js, and ends as that ends. */
function launch(node) {
  if (!existsSync(node)) {
    console.error(
      `relay-gateway: needs Node.js ${OLDEST_NODE}, and this is ${process.version}. ` +
        'The right one comes with `npm ci`; if its install scripts were blocked, run `npm rebuild node`.',
    );
    process.exit(FAULT);
  }
  const child = spawn(node, process.argv.slice(1), { stdio: ['inherit', 'inherit', 'inherit', 'ipc'] });
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) {
    process.on(signal, () => {
      // A terminal interrupts the whole process group, so the child has it already.
      if (signal !== 'SIGINT' || !process.stdin.isTTY) {
        child.kill(signal);
      }
    });
  }
  child.on('exit', (code, signal) => {
    if (signal) {
      process.removeAllListeners(signal);
      process.kill(process.pid, signal);
    } else {
      process.exit(code ?? FAULT);
    }
  });
}

/** Where `launch` started this process: ends when the launcher is killed, so that no gateway outlives it unseen. */
function endWithLauncher() {
  if (process.channel) {
    process.once('disconnect', () => process.exit(FAULT));
    process.channel.unref();
  }
}
