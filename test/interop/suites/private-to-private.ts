/** Parcels between private gateways that are the official JavaScript client (RS-016), unmodified. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import {
  Parcel,
  type ParcelCollection,
  ParcelCollectionHandshakeSigner,
  ServiceMessage,
  SessionEnvelopedData,
  SessionKeyPair,
  StreamingMode,
} from '@relaycorp/relaynet-core';
import type { Addresses, Deployment } from '../../support/deployment.ts';
import { type OfficialEndpoint, OfficialPrivateGateway, type OfficialSender } from '../../support/official-client.ts';

/** The largest parcel that can travel in cargo (protocol section 3), in octets. */
const LARGEST_PARCEL = 8_322_037;

/** Milliseconds without a ping after which the client believes that the connection is dead. */
const CLIENT_PATIENCE = 7000;

export const privateToPrivate = (deployment: Deployment) =>
  describe('Private to private by the official JavaScript client', () => {
    let gateway: Addresses & AsyncDisposable;
    let sending: OfficialPrivateGateway;
    let receiving: OfficialPrivateGateway;
    let endpoint: OfficialEndpoint;
    let sender: OfficialSender;

    before(async () => {
      gateway = await deployment.start();
      sending = await OfficialPrivateGateway.register(gateway.poweb);
      const other = await sending.newEndpoint();
      receiving = await OfficialPrivateGateway.register(gateway.poweb);
      endpoint = await receiving.newEndpoint();
      sender = await endpoint.authorize(other.identity);
    });

    after(() => gateway[Symbol.asyncDispose]());

    beforeEach(async () => {
      await receiving.collectAll();
    });

    /** Delivers a parcel with a payload of this many octets, and gives its own. */
    async function deliver(payload = randomBytes(512), options = {}): Promise<Buffer> {
      const parcel = await endpoint.writeParcel(sender, payload, options);
      await sending.deliver(parcel);
      return Buffer.from(parcel);
    }

    test('close-upon-completion collects what waits, oldest first, and then ends', async () => {
      const sent = [await deliver(), await deliver(randomBytes(70_000)), await deliver()];

      const collected: Buffer[] = [];
      for await (const collection of receiving.collect(StreamingMode.CLOSE_UPON_COMPLETION)) {
        await collection.deserializeAndValidateParcel();
        collected.push(Buffer.from(collection.parcelSerialized));
        await collection.ack();
      }

      assert.deepEqual(collected, sent);
    });

    test('close-upon-completion ends at once when nothing waits', async () => {
      assert.deepEqual(await receiving.collectAll(), []);
    });

    test('keep-alive collects what waits and stays for what arrives later', async () => {
      const waiting = await deliver();
      const collections = receiving.collect(StreamingMode.KEEP_ALIVE);
      assert.deepEqual(await acknowledgeNext(collections), waiting);

      for (let count = 0; count < 3; count++) {
        // The collection is there before the parcel is.
        const next = acknowledgeNext(collections);
        const sent = await deliver();
        assert.deepEqual(await next, sent);
      }

      await collections.return(undefined);
      // The one that was acknowledged last may still be on its way out; a collection that completes has seen it go.
      await receiving.collectAll();
      assert.deepEqual(await receiving.collectAll(), []);
    });

    test('a keep-alive collection that found nothing gets the first parcel that arrives', async () => {
      const handshake = Promise.withResolvers<void>();
      const collections = receiving.collect(StreamingMode.KEEP_ALIVE, handshake.resolve);
      const next = acknowledgeNext(collections);
      await handshake.promise;

      const sent = await deliver();

      assert.deepEqual(await next, sent);
      await collections.return(undefined);
    });

    test('a keep-alive collection in which nothing happens is not given up by the client', async () => {
      let handshakes = 0;
      const collections = receiving.collect(StreamingMode.KEEP_ALIVE, () => {
        handshakes++;
      });
      const next = acknowledgeNext(collections);
      // It drops a connection after 7 seconds without a ping, makes a new one, and tells only by a further handshake.
      await pause(CLIENT_PATIENCE + 1000);

      const sent = await deliver();

      assert.deepEqual(await next, sent);
      assert.equal(handshakes, 1);
      await collections.return(undefined);
    });

    test('one collection serves two private gateways', async () => {
      const further = await OfficialPrivateGateway.register(gateway.poweb);
      const furtherEndpoint = await further.newEndpoint();
      const parcel = await furtherEndpoint.writeParcel(
        await furtherEndpoint.authorize(sender.identity),
        randomBytes(64),
      );
      const sent = await deliver();
      await sending.deliver(parcel);

      const collected: Buffer[] = [];
      const signers = [receiving, further].map(
        ({ certificate, identity }) => new ParcelCollectionHandshakeSigner(certificate, identity.privateKey),
      );
      for await (const collection of receiving.client.collectParcels(signers, StreamingMode.CLOSE_UPON_COMPLETION)) {
        collected.push(Buffer.from(collection.parcelSerialized));
        await collection.ack();
      }

      assert.deepEqual(collected, [sent, Buffer.from(parcel)]);
    });

    test('five small parcels that wait at once are all collected', async () => {
      const sent: Buffer[] = [];
      for (let count = 0; count < 5; count++) {
        sent.push(await deliver(randomBytes(16)));
      }

      assert.deepEqual(await receiving.collectAll(), sent);
      assert.deepEqual(await receiving.collectAll(), []);
    });

    test('five small parcels that arrive at once during a keep-alive collection are all collected', async () => {
      const handshake = Promise.withResolvers<void>();
      const collections = receiving.collect(StreamingMode.KEEP_ALIVE, handshake.resolve);
      const first = acknowledgeNext(collections);
      await handshake.promise;

      const sent = await Promise.all(Array.from({ length: 5 }, () => deliver(randomBytes(16))));

      const collected = [await first];
      while (collected.length < sent.length) {
        collected.push(await acknowledgeNext(collections));
      }
      await collections.return(undefined);
      assert.deepEqual(collected.toSorted(Buffer.compare), sent.toSorted(Buffer.compare));
    });

    test('an acknowledged parcel is deleted, and an unacknowledged one is collected again', async () => {
      const sent = [await deliver(), await deliver()];
      const collections = receiving.collect(StreamingMode.KEEP_ALIVE);
      assert.deepEqual(await acknowledgeNext(collections), sent[0]);
      const unacknowledged = await collections.next();
      assert.deepEqual(Buffer.from((unacknowledged.value as ParcelCollection).parcelSerialized), sent[1]);
      await collections.return(undefined);

      // The one that was acknowledged last may still be on its way out.
      const [last, ...others] = (await receiving.collectAll()).reverse();
      assert.deepEqual(last, sent[1]);
      assert.ok(others.every((other) => other.equals(sent[0] as Buffer)));
      assert.deepEqual(await receiving.collectAll(), []);
    });

    test('a parcel with the same id from the same sender replaces the one that waits', async () => {
      await deliver(Buffer.from('former'), { id: 'the-same' });
      const between = await deliver();
      const replacement = await deliver(Buffer.from('latter'), { id: 'the-same' });

      assert.deepEqual(await receiving.collectAll(), [between, replacement]);
    });

    test('a service message is decrypted by the endpoint that it was encrypted for', async () => {
      const session = await SessionKeyPair.generate();
      const message = new ServiceMessage('application/vnd.example', Buffer.from('the message'));
      const { envelopedData } = await SessionEnvelopedData.encrypt(message.serialize(), session.sessionKey);
      await deliver(Buffer.from(envelopedData.serialize()));

      const [collected] = await receiving.collectAll();
      const parcel = await Parcel.deserialize(Uint8Array.from(collected as Buffer).buffer);
      const { payload } = await parcel.unwrapPayload(session.privateKey);

      assert.equal(payload.type, 'application/vnd.example');
      assert.equal(payload.content.toString(), 'the message');
    });

    test('the largest parcel is collected octet by octet', async () => {
      const parcel = await endpoint.writeParcelOfSize(sender, LARGEST_PARCEL);
      await sending.deliver(parcel);

      const [collected, ...others] = await receiving.collectAll();

      assert.ok(collected?.equals(Buffer.from(parcel)));
      assert.deepEqual(others, []);
    });

    test('a parcel of one octet more is refused for good', async () => {
      const parcel = await endpoint.writeParcelOfSize(sender, LARGEST_PARCEL + 1);

      await assert.rejects(sending.deliver(parcel), { name: 'RefusedParcelError' });

      assert.deepEqual(await receiving.collectAll(), []);
    });

    test('a parcel countersigned by a stranger is refused', async () => {
      const elsewhere = new OfficialPrivateGateway(sending.client, endpoint.identity, {
        ...sending.registration,
        privateNodeCertificate: endpoint.certificate,
      } as never);

      await assert.rejects(elsewhere.deliver(await endpoint.writeParcel(sender, randomBytes(16))), {
        name: 'ParcelDeliveryError',
        message: 'Could not deliver parcel (HTTP 403)',
      });
    });
  });

/** Waits for the next parcel of a collection, acknowledges it, and gives its octets. */
async function acknowledgeNext(collections: AsyncGenerator<ParcelCollection>): Promise<Buffer> {
  const { value } = await collections.next();
  const collection = value as ParcelCollection;
  await collection.ack();
  return Buffer.from(collection.parcelSerialized);
}
