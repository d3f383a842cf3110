/** Loaded by `--import` into the program: writes what modules it has loaded, a URL a line, into a file when it ends. */
import { writeFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { isMainThread } from 'node:worker_threads';

const file = process.env['LOADED_MODULES'];
if (file && isMainThread) {
  const urls: string[] = [];
  registerHooks({
    load(url, context, nextLoad) {
      urls.push(url);
      return nextLoad(url, context);
    },
  });
  process.on('exit', () => writeFileSync(file, urls.join('\n')));
}
