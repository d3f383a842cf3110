/** One trace of a gateway that is many processes. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { needsCloud } from '../support/cloud.ts';
import { startFleet } from '../support/fleet.ts';
import { newOfficialIdentity, OfficialPrivateGateway } from '../support/official-client.ts';
import { startOtlpReceiver } from '../support/otlp-receiver.ts';

suite('A gateway of many processes', needsCloud(), () => {
  test("tells of a parcel's way in one trace, though each process tells of its own part", async () => {
    await using receiver = await startOtlpReceiver();
    await using fleet = await startFleet({ environment: { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url } });
    const traces: string[] = [];
    using _listening = fleet.listen(({ msg, trace }) => {
      if (msg === 'Parcel accepted') {
        traces.push(String(trace).replaceAll('-', ''));
      }
    });
    const sender = await OfficialPrivateGateway.register(fleet.addresses.poweb);
    const recipient = await OfficialPrivateGateway.register(fleet.addresses.poweb);
    const endpoint = await recipient.newEndpoint();
    const authorized = await endpoint.authorize(await newOfficialIdentity());
    await sender.deliver(await endpoint.writeParcel(authorized, Buffer.from('payload')));
    assert.equal((await recipient.collectAll()).length, 1);

    while (traces.length === 0) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await receiver.trace(traces[0] ?? '', 'acknowledge parcel');
    const spans = await receiver.trace(traces[0] ?? '', 'accept parcel');
    const of = (name: string) => spans.find((span) => span.name === name);
    const [door, wait, end] = [of('accept parcel'), of('wait in mailbox'), of('acknowledge parcel')];
    assert.equal(door?.parentSpanId, undefined);
    assert.equal(wait?.parentSpanId, door?.spanId);
    assert.equal(end?.parentSpanId, door?.spanId);
    assert.notEqual(wait?.instance, door?.instance);
    assert.equal(wait?.instance, end?.instance);
  });
});
