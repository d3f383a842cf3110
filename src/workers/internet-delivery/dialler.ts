/**
 * Opens connections to Internet nodes, and to public addresses only: what is checked is the address that is dialled, so
 * that neither redirects nor service records nor names that change their mind lead elsewhere.
 */
import { isIP, type LookupFunction } from 'node:net';
import { buildConnector } from 'undici';
import { DeliveryFault } from '../../gateway/delivery-fault.ts';
import { SECOND } from '../../gateway/time.ts';
import { isPublicAddress } from './public-address.ts';

/** How long a connection may take, TLS included, in milliseconds. */
const CONNECT_TIMEOUT = 10 * SECOND;

/** TLS sessions that are kept to be resumed. */
const MOST_SESSIONS = 1000;

/** Gives the network addresses of a host. @throws DeliveryFault */
export type FindAddresses = (host: string) => Promise<readonly string[]>;

/** Whether a network address may be dialled. */
export type MayDial = (address: string) => boolean;

/** @param allowPrivate tests only: any address may be dialled */
export function dialRule(allowPrivate: boolean): MayDial {
  return allowPrivate ? () => true : isPublicAddress;
}

/** A connector for undici. */
export function createDialler(find: FindAddresses, mayDial: MayDial): buildConnector.connector {
  const lookup: LookupFunction = (host, { all }, done) => {
    find(host).then(
      (addresses) => {
        const allowed = addresses.filter(mayDial);
        const [first] = allowed;
        if (first === undefined) {
          done(forbidden(host, addresses), '');
        } else if (all) {
          done(
            null,
            allowed.map((address) => ({ address, family: isIP(address) })),
          );
        } else {
          done(null, first, isIP(first));
        }
      },
      (error: Error) => done(error, ''),
    );
  };
  const connect = buildConnector({
    lookup,
    timeout: CONNECT_TIMEOUT,
    maxCachedSessions: MOST_SESSIONS,
    autoSelectFamily: true,
    minVersion: 'TLSv1.2',
  });
  return (options, callback) => {
    const host = options.hostname.replace(/^\[|\]$/g, '');
    // Addresses are never looked up.
    if (isIP(host) !== 0 && !mayDial(host)) {
      callback(forbidden(host, [host]), null);
    } else {
      connect(options, callback);
    }
  };
}

function forbidden(host: string, addresses: readonly string[]): DeliveryFault {
  return new DeliveryFault('DESTINATION_FORBIDDEN', `${host} is at ${addresses.join(', ')}, which is not public`);
}
