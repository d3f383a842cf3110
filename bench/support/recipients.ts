/** Private gateways that are registered with a running gateway, and parcels for them that are signed beforehand. */
import type { Certificate } from '../../src/awala/pki/certificate.ts';
import { writeParcelCountersignature } from '../../src/awala/poweb/countersignature.ts';
import { Endpoint } from '../../src/doctor/endpoint.ts';
import { PARCEL_TYPE, PrivateGateway } from '../../src/doctor/private-gateway.ts';
import { requestOctets } from './http-load.ts';

/** Octets of payload that a small parcel has. */
const KIB = 1024;

export interface Recipient {
  readonly gateway: PrivateGateway;
  readonly certificate: Certificate;
  readonly endpoint: Endpoint;
}

export async function registerRecipient(poweb: URL): Promise<Recipient> {
  const gateway = await PrivateGateway.create(poweb, AbortSignal.timeout(600_000));
  const { nodeCertificate: certificate } = await gateway.register(await gateway.preRegister());
  return { gateway, certificate, endpoint: await Endpoint.create({ key: gateway.key, certificate }) };
}

/** A whole `POST /v1/parcels` with a countersigned parcel from the recipient to its own endpoint. */
export async function deliveryRequest(poweb: URL, recipient: Recipient, payload = Buffer.alloc(KIB)): Promise<Buffer> {
  const { gateway, certificate, endpoint } = recipient;
  const parcel = await endpoint.writeParcel(undefined, Date.now(), payload);
  const countersignature = await writeParcelCountersignature(parcel, { key: gateway.key.signing, certificate });
  const headers = {
    authorization: `Relaynet-Countersignature ${countersignature.toString('base64')}`,
    'content-type': PARCEL_TYPE,
  };
  return requestOctets(poweb, '/v1/parcels', headers, parcel);
}

export async function deliveryRequests(poweb: URL, recipient: Recipient, count: number): Promise<Buffer[]> {
  const requests: Buffer[] = [];
  for (let number = 0; number < count; number++) {
    requests.push(await deliveryRequest(poweb, recipient));
  }
  return requests;
}
