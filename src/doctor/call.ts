/**
 * One HTTP call as a deployed client makes it: with a limit on its time, and no redirect followed.
 */
import { once } from 'node:events';
import http, { type IncomingMessage } from 'node:http';
import https from 'node:https';
import { DoctorFault } from './fault.ts';
import { networkFault } from './network-fault.ts';

/** Longest answer that is read, in octets: registrations and connection parameters take a few thousand. */
const MAX_ANSWER = 1024 * 1024;

export interface Call {
  readonly method: 'GET' | 'POST';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
  /** How long deployed clients wait for the whole answer, in milliseconds. */
  readonly limit: number;
  /** Ends the whole examination. */
  readonly signal: AbortSignal;
}

export interface Answer {
  readonly status: number;
  readonly contentType: string | undefined;
  readonly body: Buffer;
  /** By the other side's clock, in milliseconds, cut to whole seconds; undefined without a Date header. */
  readonly date: number | undefined;
}

/** @throws DoctorFault when there is no whole answer */
export async function call(url: URL, { method, headers, body, limit, signal }: Call): Promise<Answer> {
  const late = AbortSignal.timeout(limit);
  try {
    // Not `fetch`: it follows the rules of browsers, which forbid some ports.
    const request = (url.protocol === 'https:' ? https : http).request(url, {
      method,
      ...(headers && { headers }),
      signal: AbortSignal.any([signal, late]),
    });
    // An error after the response is told by the response as well.
    request.on('error', () => undefined);
    request.end(body);
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    const date = Date.parse(response.headers.date ?? '');
    return {
      status: response.statusCode ?? 0,
      contentType: response.headers['content-type'],
      body: await readBody(response),
      date: Number.isNaN(date) ? undefined : date,
    };
  } catch (error) {
    signal.throwIfAborted();
    if (late.aborted) {
      throw new DoctorFault(
        'ANSWER_LATE',
        `No answer from ${url.host} in ${limit / 1000} s, the time that deployed clients wait`,
        "Look at the gateway's load, its disk, and the way to it",
        { cause: error },
      );
    }
    throw networkFault(error, url);
  }
}

async function readBody(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MAX_ANSWER) {
      throw new DoctorFault(
        'ANSWER_TOO_LONG',
        `The answer is longer than ${MAX_ANSWER} octets`,
        'Check that the URL is that of an Awala gateway',
      );
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** What each status other than the due one is likely to come from. */
const STATUS_MENDS: Readonly<Record<number, string>> = {
  401: 'The gateway found no countersignature: check that a proxy before it passes the Authorization header on',
  403: "The gateway refused the sender: look into its log for the reason's code, and compare the clocks of all its replicas",
  404: "This is not the right port or path: give PoWeb's URL (port 8080 by default) as URL, without /v1, and PoHTTP's (8081) with --pohttp",
  405: "This is not the right port: give PoWeb's URL (port 8080 by default) as URL, and PoHTTP's (8081) with --pohttp",
  413: 'A proxy before the gateway limits bodies: allow 9 MiB',
  415: 'A proxy before the gateway changes Content-Type: pass it on as it is',
  422: "The gateway refused the parcel for good: look into its log for the reason's code",
  429: 'Too many registrations came from this address: wait, or allow more (REGISTRATIONS_PER_ADDRESS)',
  502: 'A proxy stands before a gateway that does not run, or on another port than the proxy believes',
  503: 'The gateway is up but a store is not: look at GET /ping on its ops port',
  507: 'A store or mailbox is full: free disk space in DATA_DIR, and look at GET /ping on the ops port',
};

/** @throws DoctorFault STATUS_UNEXPECTED unless the answer has the due status */
export function requireStatus(answer: Answer, due: number, what: string): void {
  if (answer.status !== due) {
    const said = answer.contentType?.startsWith('text/plain') ? `: ${firstLine(answer.body)}` : '';
    throw new DoctorFault(
      'STATUS_UNEXPECTED',
      `${what} was answered ${answer.status} instead of ${due}${said}`,
      mendOf(answer.status),
    );
  }
}

/**
 * A finding about a WebSocket that was refused.
 *
 * @param status instead of 101
 */
export function upgradeFault(status: number): DoctorFault {
  const mend =
    status >= 500
      ? mendOf(status)
      : 'Let proxies before the gateway pass WebSockets on (Upgrade and Connection), and run its collection service there';
  return new DoctorFault('STATUS_UNEXPECTED', `The WebSocket request was answered ${status} instead of 101`, mend);
}

function mendOf(status: number): string {
  if (status >= 300 && status < 400) {
    return 'Deployed clients follow no redirect here: give the final URL, https:// if it is that';
  }
  return STATUS_MENDS[status] ?? "Look into the gateway's log for this request";
}

/** @throws DoctorFault CONTENT_TYPE_UNEXPECTED: clients compare the whole string */
export function requireContentType(answer: Answer, due: string, what: string): void {
  if (answer.contentType !== due) {
    throw new DoctorFault(
      'CONTENT_TYPE_UNEXPECTED',
      `${what} has content type ${answer.contentType ?? '(none)'} instead of ${due}`,
      'Check that the URL is that of an Awala gateway, and that no proxy changes Content-Type',
    );
  }
}

function firstLine(body: Buffer): string {
  const [line = ''] = body
    .subarray(0, 200)
    .toString('latin1')
    .split(/[\r\n]/);
  return line.replace(/[^ -~]/g, '?');
}
