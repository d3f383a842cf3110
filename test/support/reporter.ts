/** Node's `spec` report, with the tools that the machine lacks in its last lines. */
import { Readable } from 'node:stream';
import { spec } from 'node:test/reporters';
import { MISSING_TOOL } from './needs-tool.ts';

interface TestEvent {
  readonly type: string;
  readonly data?: { readonly skip?: string | boolean };
}

export default async function* report(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const missing = new Map<string, number>();
  async function* watched(): AsyncGenerator<TestEvent> {
    for await (const event of events) {
      const reason = event.data?.skip;
      if (event.type === 'test:pass' && typeof reason === 'string' && reason.startsWith(MISSING_TOOL)) {
        missing.set(reason, (missing.get(reason) ?? 0) + 1);
      }
      yield event;
    }
  }
  for await (const text of Readable.from(watched()).pipe(new spec())) {
    yield String(text);
  }
  for (const [reason, count] of missing) {
    yield `\n${reason}\n${count} ${count === 1 ? 'test was' : 'tests were'} skipped for want of it.\n`;
  }
}
