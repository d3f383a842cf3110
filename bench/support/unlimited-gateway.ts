/** The program with nothing in the way of a benchmark: no limits on peers and addresses, and room for all parcels. */
import { type SpawnedGateway, spawnGateway } from '../../test/support/gateway.ts';

/** Its settings. */
export const UNLIMITED = {
  MAILBOX_PARCELS: '1000000',
  DELIVERIES_PER_PEER: '0',
  COLLECTIONS_PER_PEER: '0',
  REQUESTS_PER_ADDRESS: '0',
  HANDSHAKES_PER_ADDRESS: '0',
  REGISTRATIONS_PER_ADDRESS: '0',
  SIGNATURES_PER_SECOND: '0',
};

export function spawnUnlimitedGateway(environment: Readonly<Record<string, string>> = {}): Promise<SpawnedGateway> {
  return spawnGateway({ environment: { ...UNLIMITED, ...environment } });
}
