/** Keys of parcels that are held for mailboxes: by mailbox first, since they move when that one has room. */

/** All of them. */
export const HELD_PREFIX = 'held/';

/** Where a parcel is kept that private gateway `sender` has sent and `mailbox` cannot take yet. */
export function heldKey(mailbox: string, sender: string, digest: string): string {
  return `${HELD_PREFIX}${mailbox}/${sender}/${digest}`;
}

/** The reverse of `heldKey`. */
export function readHeldKey(key: string): { mailbox: string; sender: string; digest: string } {
  const [, mailbox = '', sender = '', digest = ''] = key.split('/');
  return { mailbox, sender, digest };
}
