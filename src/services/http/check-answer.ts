/**
 * Whether an HTTP server of ours answers: asked the way that a client would ask.
 */
import { request as tlsRequest } from 'node:https';
import { request } from './node-http.ts';

/** How long the answer may take, in milliseconds. */
const TIMEOUT = 2000;

/** @throws Error, unless `HEAD /` gets a 200 in time */
export function checkAnswer(url: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const options = { method: 'HEAD', agent: false, signal: AbortSignal.timeout(TIMEOUT) };
    // It is ourselves that we ask, by an address that the certificate does not name.
    const sent = url.startsWith('https:')
      ? tlsRequest(url, { ...options, rejectUnauthorized: false })
      : request(url, options);
    sent.on('response', (response) => {
      response.resume();
      if (response.statusCode === 200) {
        resolve();
      } else {
        reject(new Error(`Answered ${response.statusCode}`));
      }
    });
    sent.on('error', reject);
    sent.end();
  });
}
