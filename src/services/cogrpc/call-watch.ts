/** Tells how each call of a gRPC server ended, as an interceptor. */
import { ServerInterceptingCall, type ServerInterceptor, status } from '@grpc/grpc-js';

/** @param ended given the method's name, and the name of the status: `CANCELLED` where the client left */
export type OnCallEnd = (method: string, status: string) => void;

/** @param isExempt tells paths that are not watched */
export function watchCalls(ended: OnCallEnd, isExempt: (path: string) => boolean): ServerInterceptor {
  return ({ path }, call) => {
    if (isExempt(path)) {
      return new ServerInterceptingCall(call);
    }
    const method = path.slice(path.lastIndexOf('/') + 1);
    let isOver = false;
    const end = (code: status) => {
      if (!isOver) {
        isOver = true;
        ended(method, status[code] ?? 'UNKNOWN');
      }
    };
    return new ServerInterceptingCall(call, {
      start: (next) =>
        next({
          onReceiveMetadata: (metadata, pass) => pass(metadata),
          onReceiveMessage: (message, pass) => pass(message),
          onReceiveHalfClose: (pass) => pass(),
          onCancel: () => end(status.CANCELLED),
        }),
      sendStatus: (answer, next) => {
        end(answer.code ?? status.OK);
        next(answer);
      },
    });
  };
}
