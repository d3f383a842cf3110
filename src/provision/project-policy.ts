/**
 * Who may do what in a whole project: Firestore has no policies of its own.
 *
 * Source: https://cloud.google.com/resource-manager/reference/rest/v3/projects/getIamPolicy
 */
import { GoogleAuth } from 'google-auth-library';
import type { Policy, PolicyPlace } from './policies.ts';

const GOOGLES = 'https://cloudresourcemanager.googleapis.com';
const SCOPE = 'https://www.googleapis.com/auth/cloud-platform';

/** Milliseconds. */
const TIMEOUT = 30_000;

const CONFLICT = 409;

/** @param endpoint elsewhere than at Google; `http://` without credentials */
export function projectPolicy(project: string, endpoint: string = GOOGLES): PolicyPlace {
  const auth = endpoint.startsWith('http:') ? undefined : new GoogleAuth({ scopes: SCOPE });
  const ask = async (method: string, body: object): Promise<Response> => {
    const url = new URL(`/v3/projects/${project}:${method}`, endpoint);
    const headers = new Headers(await auth?.getRequestHeaders(url.href));
    headers.set('content-type', 'application/json');
    const answer = await fetch(url, {
      method: 'POST',
      headers,
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(TIMEOUT),
    });
    if (!answer.ok && answer.status !== CONFLICT) {
      throw new Error(`Resource Manager refused ${method} of ${project}: ${answer.status} ${await reasonOf(answer)}`);
    }
    return answer;
  };
  return {
    read: async () => {
      const answer = await ask('getIamPolicy', { options: { requestedPolicyVersion: 3 } });
      const { version = 1, etag = '', bindings = [] } = (await answer.json()) as Partial<Policy>;
      return { version, etag, bindings };
    },
    write: async (policy) => {
      const answer = await ask('setIamPolicy', { policy });
      await answer.arrayBuffer();
      return answer.status !== CONFLICT;
    },
  };
}

async function reasonOf(answer: Response): Promise<string> {
  const document = (await answer.json().catch(() => undefined)) as { error?: { message?: string } } | undefined;
  return document?.error?.message ?? '';
}
