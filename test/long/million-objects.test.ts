/** A million stored objects: opening, listing, memory and the event loop. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { test } from 'node:test';
import { openLocalBackends } from '../../src/backends/local/local-backends.ts';
import { temporaryDirectory } from '../support/local-backends.ts';

const OBJECTS = 1_000_000;
const AT_ONCE = 2000;
const MIB = 1024 * 1024;
const SIZES = { small: 10, middle: 1000, large: 100_000 };
const REPORTER = new URL('../support/store-memory.ts', import.meta.url).pathname;

test('A store of a million objects opens, lists and deletes as a small one does', { timeout: 900_000 }, async () => {
  await using directory = await temporaryDirectory();
  const settings = { directory: directory.path, clock: Date, random: randomBytes };
  const body = randomBytes(512);
  {
    await using backends = await openLocalBackends(settings);
    const keys = objectKeys();
    const put = async () => {
      for (let key = keys.next(); !key.done; key = keys.next()) {
        await backends.objects.put(key.value, body, {
          expiry: Date.now() + 86_400_000,
          metadata: { trace: 't', parcel: key.value },
        });
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, put));
  }

  const start = performance.now();
  await using backends = await openLocalBackends(settings);
  const opened = performance.now() - start;
  const count = async (prefix: string) => {
    let entries = 0;
    for await (const { key } of backends.objects.list(prefix)) {
      assert.ok(key.startsWith(prefix));
      entries++;
    }
    return entries;
  };
  const delay = monitorEventLoopDelay({ resolution: 5 });
  delay.enable();
  const times: Record<string, number> = {};
  for (const [name, size] of Object.entries(SIZES)) {
    assert.equal(await count(`m/${name}/`), size);
    const began = performance.now();
    assert.equal(await count(`m/${name}/`), size);
    times[name] = performance.now() - began;
  }
  delay.disable();
  assert.ok((await backends.objects.get('m/small/3'))?.body.equals(body));
  await backends.objects.delete('m/small/3');
  assert.equal(await count('m/small/'), 9);
  const stall = delay.max / 1e6;
  await backends[Symbol.asyncDispose]();

  const resident = Number(execFileSync(process.execPath, [REPORTER, directory.path, 'm/large/'], { encoding: 'utf8' }));
  console.log(
    `opened in ${opened.toFixed(0)} ms; lists of 10, 1000, 100,000: ${Object.values(times)
      .map((ms) => ms.toFixed(1))
      .join(', ')} ms; ` + `longest stall ${stall.toFixed(0)} ms; resident ${(resident / MIB).toFixed(0)} MiB`,
  );
  assert.ok(opened < 1000, `opening took ${opened} ms`);
  assert.ok((times['small'] ?? 0) < 20, `listing 10 took ${times['small']} ms`);
  assert.ok(stall < 250, `the event loop stalled for ${stall} ms`);
  assert.ok(resident < 200 * MIB, `${resident / MIB} MiB are resident`);
});

/** Mailboxes of different sizes, written in turns, as parcels come; the rest goes to mailboxes of ten. */
function* objectKeys(): Generator<string> {
  let made = 0;
  for (let number = 0; number < SIZES.large; number++) {
    for (const [name, size] of Object.entries(SIZES)) {
      if (number < size) {
        yield `m/${name}/${number}`;
        made++;
      }
    }
  }
  for (; made < OBJECTS; made++) {
    yield `n/${(made * 7919) % 90_000}/${made}`;
  }
}
