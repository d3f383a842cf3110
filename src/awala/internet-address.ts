/**
 * Awala Internet addresses: domain names, by which nodes on the Internet are found (RS-000).
 */

/** The most characters of an Internet address: a domain name (RFC 1035) that is found under `_awala-pdc._tcp.` (RS-007). */
export const MAX_INTERNET_ADDRESS_LENGTH = 253 - '_awala-pdc._tcp.'.length;

const LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/i;

/** Whether `text` is a domain name of two labels or more, so not `localhost`, an IP address, or anything with a port. */
export function isInternetAddress(text: string): boolean {
  if (text.length > MAX_INTERNET_ADDRESS_LENGTH) {
    return false;
  }
  const labels = text.split('.');
  const isNumber = /^\d+$/.test(labels.at(-1) as string);
  return labels.length > 1 && !isNumber && labels.every((label) => LABEL.test(label));
}
