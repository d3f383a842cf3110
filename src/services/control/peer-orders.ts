/** What an operator asks about private gateways, and orders. Each change is logged. */
import type { Logger } from 'pino';
import type { PeerReport, Peers } from '../../gateway/peers.ts';

/** How many private gateways are told of at once. */
const MOST_LISTED = 10_000;

/** JSON; dates are in ISO 8601. */
export interface PeerList {
  readonly peers: readonly (Omit<PeerReport, 'registered'> & { readonly registered?: string })[];
  /** There are more. */
  readonly isTruncated: boolean;
}

/** @param only those that are allowed, or blocked; all where absent @throws StoreError */
export async function listPeers(peers: Peers, only?: string): Promise<PeerList> {
  const listed: PeerList['peers'][number][] = [];
  for await (const { registered, ...report } of peers.list()) {
    if ((only === 'allowed' && !report.isAllowed) || (only === 'blocked' && !report.isBlocked)) {
      continue;
    }
    if (listed.length === MOST_LISTED) {
      return { peers: listed, isTruncated: true };
    }
    listed.push({ ...report, ...(registered !== undefined && { registered: new Date(registered).toISOString() }) });
  }
  return { peers: listed, isTruncated: false };
}

/** @throws TypeError when the id is none; StoreError */
export async function changePeer(
  peers: Peers,
  change: 'allow' | 'block' | 'unblock',
  peer: string,
  log: Logger,
): Promise<{ readonly peer: string; readonly isBlocked: boolean }> {
  await peers[change](peer);
  log.info({ peer, change }, 'Private gateway changed by the operator');
  return { peer, isBlocked: peers.isBlocked(peer) };
}
