/** Configuration to objects: which processes sign in the gateway's name. */
import type { Config, ServiceName } from '../config.ts';

/**
 * PoWeb signs registrations and CogRPC cargo. The worker, which strangers cannot reach, signs the gateway's own certificates,
 * so that housekeeping goes on where neither runs for a while. The others need no right to sign.
 */
const ISSUING_SERVICES: readonly ServiceName[] = ['poweb', 'cogrpc', 'worker'];

/** Whether this process makes the identity and its certificates, and does the housekeeping of all. */
export function isIssuing({ services, records }: Pick<Config, 'services' | 'records'>): boolean {
  return records === 'local' || services.some((name) => ISSUING_SERVICES.includes(name));
}
