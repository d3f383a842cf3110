/** The way of a parcel, put together from the logs of however many processes it went through. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { suite, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { TraceReport } from '../../../src/services/control/trace-report.ts';
import type { Deployment } from '../../support/deployment.ts';
import { OfficialChannel } from '../../support/official-channel.ts';
import { newOfficialIdentity } from '../../support/official-client.ts';
import { collectOfficially, officialCourier } from '../../support/official-courier.ts';
import { runRelayGateway } from '../../support/relay-gateway.ts';

export function tracing(deployment: Deployment): void {
  suite('The logs of a gateway', () => {
    test("tell a parcel's way from PoWeb by a courier to its acknowledgement", async () => {
      const lines: Readonly<Record<string, unknown>>[] = [];
      await using gateway = await deployment.start({ onLine: (line) => lines.push(line) });
      const recipient = await OfficialChannel.register(gateway.poweb);
      const endpoint = await recipient.privateGateway.newEndpoint();
      const id = randomUUID();
      const sender = await endpoint.authorize(await newOfficialIdentity());
      await recipient.privateGateway.deliver(await endpoint.writeParcel(sender, Buffer.from('payload'), { id }));
      const courier = await officialCourier(gateway.cogrpc);
      await collectOfficially(courier, await recipient.newCca());
      courier.close();
      assert.equal((await recipient.privateGateway.collectAll()).length, 1);
      // Each process writes its lines out when it likes.
      const isTold = (wanted: string) => lines.some(({ parcel, event }) => parcel === id && event === wanted);
      while (!['accepted', 'loaded', 'acknowledged'].every(isTold)) {
        await delay(20);
      }

      const folder = await mkdtemp(path.join(tmpdir(), 'relay-gateway-logs-'));
      try {
        const file = path.join(folder, 'all.log');
        // Whoever collects logs keeps no order.
        await writeFile(
          file,
          lines
            .toReversed()
            .map((line) => `${JSON.stringify(line)}\n`)
            .join(''),
        );
        const { code, stdout, stderr } = await runRelayGateway(['trace', id, '--logs', file, '--json']);
        assert.equal(code, 0, stderr);
        const [traced, ...others] = (JSON.parse(stdout) as TraceReport).parcels;
        assert.deepEqual(others, []);
        assert.deepEqual(
          traced?.hops.map(({ event, door, place }) => [event, door, place]),
          [
            ['accepted', 'poweb', 'mailbox'],
            ['loaded', 'cargo', undefined],
            ['acknowledged', 'poweb', undefined],
          ],
        );
        assert.equal(new Set(traced?.hops.map(({ trace }) => trace)).size, 1);
      } finally {
        await rm(folder, { recursive: true });
      }
    });
  });
}
